"""Use cases in memory: the rules that the REST face can see, with simple placement and operations that end at once."""

from tests.unit.gateway_heketi.fake_block_volumes import FakeBlockVolumes


class FakeUseCases(FakeBlockVolumes):
    """An in-memory `UseCases`; see `FakeState` for what tests can set."""

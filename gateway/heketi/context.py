"""What every route works with."""

from dataclasses import dataclass

from gateway.heketi.settings import HeketiSettings
from gateway.usecases import UseCases


@dataclass(frozen=True, slots=True)
class Context:
    """What every route works with.

    Attributes:
        use_cases: What the gateway can do.
        settings: How the REST face behaves.
    """

    use_cases: UseCases
    settings: HeketiSettings

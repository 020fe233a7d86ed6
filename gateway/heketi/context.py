"""What every route works with."""

from dataclasses import dataclass

from gateway.heketi.admin import AdminMode
from gateway.heketi.settings import HeketiSettings
from gateway.usecases import UseCases


@dataclass(frozen=True, slots=True)
class Context:
    """What every route works with.

    Attributes:
        use_cases: What the gateway can do.
        settings: How the REST face behaves.
        admin: The administrative mode of this process.
    """

    use_cases: UseCases
    settings: HeketiSettings
    admin: AdminMode

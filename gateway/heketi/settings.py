"""Settings of the REST face. Pure."""

from dataclasses import dataclass, field

from gateway.heketi.admin import Mode
from services.common.units import GIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class HeketiSettings:
    """How the REST face behaves.

    Attributes:
        admin_key: Secret of the issuer "admin", who may call everything.
        user_key: Secret of the issuer "user", who may list and create volumes.
        auth_enabled: Whether tokens are asked for; Heketi's server flag --disable-auth turns it off.
        jwt_iat_leeway_s: Seconds that a token may come from the future, 0 or more; Heketi's default is 120.
        jwt_exp_leeway_s: Seconds that a token counts after its end, 0 or more; Heketi gives none, but its Python
            client makes tokens that live one second.
        min_brick_size_bytes: Smallest data brick; a volume below it, or below the data bricks of one set, is refused.
        max_body_bytes: Largest request body.
        default_mode: The administrative mode that the process begins with.

    Raises:
        ValueError: Auth is on and a key is missing (Heketi's text), or a number is out of range.
    """

    admin_key: str = field(default="", repr=False)
    user_key: str = field(default="", repr=False)
    auth_enabled: bool = True
    jwt_iat_leeway_s: int = 120
    jwt_exp_leeway_s: int = 2
    min_brick_size_bytes: int = GIB
    max_body_bytes: int = MIB
    default_mode: Mode = Mode.NORMAL

    def __post_init__(self) -> None:
        if self.auth_enabled and not (self.admin_key and self.user_key):
            raise ValueError("Missing JWT information in config file")
        if min(self.jwt_iat_leeway_s, self.jwt_exp_leeway_s, self.min_brick_size_bytes) < 0 or self.max_body_bytes < 1:
            raise ValueError("leeways and sizes of the REST face must not be negative")

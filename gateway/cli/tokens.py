"""Tokens as Heketi's clients make them: one for each request, signed with the user's key."""

import hashlib
import json
import time

from jwt.algorithms import HMACAlgorithm
from jwt.api_jws import PyJWS

_ALGORITHM = "HS256"
LIFETIME_S = 300


class _AnyLength(HMACAlgorithm):
    """HMAC with keys of any length: Heketi's users have short ones, and a client without a key signs with none."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key.encode() if isinstance(key, str) else key

    def check_key_length(self, key: bytes) -> str | None:  # noqa: ARG002 - the library's signature
        return None


def _signer() -> PyJWS:
    signer = PyJWS()
    signer.unregister_algorithm(_ALGORITHM)
    signer.register_algorithm(_ALGORITHM, _AnyLength(HMACAlgorithm.SHA256))
    return signer


_SIGNER = _signer()


def make_token(key: str, *, user: str, method: str, path: str, lifetime_s: int = LIFETIME_S) -> str:
    """A token for one request.

    Args:
        key: The user's key; may be empty, which a server that asks for tokens refuses.
        user: "admin" or "user"; empty = the token names nobody.
        method: The request's method.
        path: Its path; the query does not count.
        lifetime_s: How long the token is valid.
    """
    now = int(time.time())
    digest = hashlib.sha256(f"{method.upper()}&{path.partition('?')[0]}".encode()).hexdigest()
    claims = {**({"iss": user} if user else {}), "iat": now, "exp": now + lifetime_s, "qsh": digest}
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return _SIGNER.encode(payload, key, algorithm=_ALGORITHM, headers={"typ": "JWT"})

"""Heketi's tokens: who calls, and that the token was made for this very request. Pure but for the clock it is given.

Written out instead of taken from a JWT library, because clients see the texts, the order of the checks and the types
that are accepted; a library's differ. The cryptography is the standard library's HMAC.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from gateway.heketi import go_json
from gateway.heketi.go_json import Shape, integer, text
from gateway.heketi.settings import HeketiSettings
from gateway.heketi.texts import refusals

_DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
# Known to Heketi's library and refused by Heketi; any other name is not known at all.
_OTHER_METHODS = frozenset({"none", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"})
_BASE64 = re.compile(r"[A-Za-z0-9_-]*")
_BASE64_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
# The longest time that Go's Duration holds, in whole seconds.
_MAX_DURATION_S = (1 << 63) // 10**9
_CLAIMS: Shape = {
    "iss": (text, ""),
    "exp": (integer, 0),
    "iat": (integer, 0),
    "nbf": (integer, 0),
    "qsh": (text, ""),
    # Not used, but of a fixed type in Heketi.
    "aud": (text, ""),
    "jti": (text, ""),
    "sub": (text, ""),
}


class Role(StrEnum):
    """Who calls; the value is the token's issuer."""

    ADMIN = "admin"
    USER = "user"


def check_role(role: Role, path: str) -> None:
    """Raises Refused unless the role may use the path: the user role has /volumes itself and nothing below it."""
    if role is not Role.ADMIN and path != "/volumes":
        raise refusals.not_admin()


def authenticate(authorization: str | None, *, method: str, path: str, settings: HeketiSettings, now_s: int) -> Role:
    """The role of whoever made the request.

    Args:
        authorization: The header.
        method: Method of the request.
        path: Its decoded path without query.
        settings: Keys and leeways.
        now_s: Seconds since the epoch.

    Raises:
        Refused: There is no token, or it does not hold for this request.
    """
    token = _token(authorization)
    segments = token.split(".")
    if len(segments) != 3:
        raise refusals.bad_token("token contains an invalid number of segments")
    header = _header(_decoded(segments[0]))
    claims = _claims(_decoded(segments[1]))
    digest = _digest(header)
    role = _issuer(claims)
    key = settings.admin_key if role is Role.ADMIN else settings.user_key
    signed = token[: -len(segments[2]) - 1]
    expected = hmac.digest(key.encode(), signed.encode(), digest)
    if not hmac.compare_digest(expected, _decoded(segments[2])):
        raise refusals.bad_token("signature is invalid (client and server secrets may not match)")
    _check_times(claims, settings, now_s)
    asked = hashlib.sha256(f"{method}&{path}".encode("utf-8", "replace")).hexdigest()
    if not hmac.compare_digest(asked.encode(), claims["qsh"].encode("utf-8", "replace")):
        raise refusals.bad_qsh()
    return role


def _token(authorization: str | None) -> str:
    if not authorization:
        raise refusals.no_token()
    parts = authorization.split(" ")
    if len(parts) != 2 or parts[0].lower() != "bearer":
        raise refusals.bad_authorization()
    if not parts[1]:
        raise refusals.no_token()
    return parts[1]


def _decoded(segment: str) -> bytes:
    """A segment's bytes; an unpadded one is padded first, as Heketi's library does."""
    if _BASE64.fullmatch(segment) and len(segment) % 4 != 1:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    padded = segment + "=" * (-len(segment) % 4)
    bare = padded.rstrip("=")
    bad = next((index for index, character in enumerate(bare) if character not in _BASE64_ALPHABET), len(bare))
    if bad == len(bare) and len(bare) % 4 != 1 and len(padded) - len(bare) <= 2:
        return base64.urlsafe_b64decode(padded)
    raise refusals.bad_token(f"illegal base64 data at input byte {bad}")


def _header(text_bytes: bytes) -> Mapping[str, Any]:
    # Of any type: what is not a string is told apart later.
    try:
        return go_json.read(text_bytes, {"alg": (lambda value, _before: value, None)})
    except go_json.SyntaxFault as fault:
        raise refusals.bad_token(str(fault)) from fault
    except go_json.TypeFault as fault:
        raise refusals.bad_token(
            f"json: cannot unmarshal {fault.found} into Go value of type map[string]interface {{}}"
        ) from fault


def _claims(text_bytes: bytes) -> dict[str, Any]:
    try:
        return go_json.read(text_bytes, _CLAIMS)
    except go_json.TypeFault as fault:
        field = f"HeketiJwtClaims.{fault.field}" if fault.field else "value"
        what = f"Go struct field {field}" if fault.field else f"Go {field}"
        raise refusals.bad_token(f"json: cannot unmarshal {fault.found} into {what} of type {fault.wanted}") from fault
    except go_json.SyntaxFault as fault:
        raise refusals.bad_token(str(fault)) from fault


def _digest(header: Mapping[str, Any]) -> str:
    name = header["alg"]
    if not isinstance(name, str):
        raise refusals.bad_token("signing method (alg) is unspecified.")
    if name in _OTHER_METHODS:
        raise refusals.bad_token(f"Unexpected signing method: {name}")
    if name not in _DIGESTS:
        raise refusals.bad_token("signing method (alg) is unavailable.")
    return _DIGESTS[name]


def _issuer(claims: Mapping[str, Any]) -> Role:
    issuer = claims["iss"]
    if not issuer:
        raise refusals.bad_token("Token missing iss claim")
    if issuer not in {role.value for role in Role}:
        raise refusals.bad_token("Unknown user")
    return Role(issuer)


def _check_times(claims: Mapping[str, Any], settings: HeketiSettings, now_s: int) -> None:
    """Of several faults the last one of exp, iat, nbf is told (Heketi's rule)."""
    fault = ""
    expiry = claims["exp"]
    if not expiry or now_s > expiry + settings.jwt_exp_leeway_s:
        fault = f"Token is expired by {go_duration(now_s - expiry)}"
    if now_s < claims["iat"] - settings.jwt_iat_leeway_s:
        fault = "Token used before issued (client and server clocks may differ)"
    if claims["nbf"] and now_s < claims["nbf"]:
        fault = "token is not valid yet"
    if fault:
        raise refusals.bad_token(fault)


def go_duration(seconds: int) -> str:
    """Whole seconds, 0 or more, as Go prints a duration: 10s, 2m0s, 498713h26m1s."""
    minutes, rest = divmod(min(seconds, _MAX_DURATION_S), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from gateway.heketi.jwt import Role, authenticate, go_duration
from gateway.heketi.settings import HeketiSettings
from gateway.heketi.texts.refusals import Refused
from tests.unit.gateway_heketi.client import ADMIN_KEY, USER_KEY, Client, make_token, qsh

NOW = 1_700_000_000
SETTINGS = HeketiSettings(admin_key=ADMIN_KEY, user_key=USER_KEY)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_token(claims: Any, header: Any = None, *, key: str = ADMIN_KEY) -> str:
    """A token of whatever JSON; bytes are taken as they are."""
    parts = [
        b64(part if isinstance(part, bytes) else json.dumps(part).encode())
        for part in ({"alg": "HS256", "typ": "JWT"} if header is None else header, claims)
    ]
    signature = hmac.digest(key.encode(), ".".join(parts).encode(), "sha256")
    return ".".join([*parts, b64(signature)])


def good(**changes: Any) -> dict[str, Any]:
    claims = {"iss": "admin", "iat": NOW, "exp": NOW + 10, "qsh": qsh("GET", "/clusters"), **changes}
    return {key: value for key, value in claims.items() if value is not None}


def refusal(authorization: str | None, settings: HeketiSettings = SETTINGS, path: str = "/clusters") -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        authenticate(authorization, method="GET", path=path, settings=settings, now_s=NOW)
    return caught.value.status, caught.value.text


def token_refusal(token: str) -> str:
    status, text = refusal(f"bearer {token}")
    assert status == 401
    assert text.startswith("Invalid JWT token: ")
    return text.removeprefix("Invalid JWT token: ")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_tokens_of_a_jwt_library_are_taken(algorithm: str, scheme: str) -> None:
    token = make_token("GET", "/clusters", algorithm=algorithm, iat=NOW, exp=NOW + 1)
    assert authenticate(f"{scheme} {token}", method="GET", path="/clusters", settings=SETTINGS, now_s=NOW) is Role.ADMIN


@pytest.mark.parametrize("header", [None, ""])
def test_no_token(header: str | None) -> None:
    assert refusal(header) == (401, "Required authorization token not found")


@pytest.mark.parametrize("header", ["Bearer", "Basic abc", "abc", "Bearer a b", "Bearer  a"])
def test_header_that_is_no_bearer_token(header: str) -> None:
    assert refusal(header) == (400, "Authorization header format must be Bearer {token}")


def test_bearer_with_an_empty_token() -> None:
    assert refusal("Bearer ") == (401, "Required authorization token not found")


@pytest.mark.parametrize("token", ["a", "a.b", "a.b.c.d"])
def test_segments(token: str) -> None:
    assert token_refusal(token) == "token contains an invalid number of segments"


@pytest.mark.parametrize(
    ("segment", "position"), [("!bc", 0), ("a", 1), ("abcde", 5), ("ab+d", 2), ("ab=c", 2), ("====", 0), ("\xe9bcd", 0)]
)
def test_bad_base64_names_the_byte(segment: str, position: int) -> None:
    assert token_refusal(f"{segment}.e30.c2ln") == f"illegal base64 data at input byte {position}"


def test_padded_segments_are_taken() -> None:
    header, claims, signature = raw_token(good()).split(".")
    padded = header + "=" * (-len(header) % 4)
    signature = b64(hmac.digest(ADMIN_KEY.encode(), f"{padded}.{claims}".encode(), "sha256"))
    token = f"{padded}.{claims}.{signature}"
    assert authenticate(f"bearer {token}", method="GET", path="/clusters", settings=SETTINGS, now_s=NOW) is Role.ADMIN


def test_wrong_key() -> None:
    assert (
        token_refusal(raw_token(good(), key="another"))
        == "signature is invalid (client and server secrets may not match)"
    )
    # The issuer chooses the key.
    assert token_refusal(raw_token(good(iss="user"))).startswith("signature is invalid")


def test_wrong_key_is_told_before_a_wrong_time() -> None:
    assert token_refusal(raw_token(good(exp=1), key="another")).startswith("signature is invalid")


def test_issuer() -> None:
    assert token_refusal(raw_token(good(iss="nobody"))) == "Unknown user"
    assert token_refusal(raw_token(good(iss=None))) == "Token missing iss claim"
    assert token_refusal(raw_token(good(iss=""))) == "Token missing iss claim"


@pytest.mark.parametrize("name", ["none", "RS256", "ES512", "PS384"])
def test_methods_that_are_no_hmac(name: str) -> None:
    assert token_refusal(raw_token(good(), {"alg": name})) == f"Unexpected signing method: {name}"


def test_methods_that_do_not_exist() -> None:
    assert token_refusal(raw_token(good(), {"alg": "hs256"})) == "signing method (alg) is unavailable."
    for header in ({}, {"alg": 5}, {"alg": None}):
        assert token_refusal(raw_token(good(), header)) == "signing method (alg) is unspecified."


def test_a_none_token_with_an_empty_signature_is_refused() -> None:
    token = raw_token(good(), {"alg": "none"}).rsplit(".", 1)[0] + "."
    assert token_refusal(token) == "Unexpected signing method: none"


@pytest.mark.parametrize(("late_s", "text"), [(0, None), (2, None), (3, "3s"), (10, "10s"), (130, "2m10s")])
def test_expiry_has_two_seconds_of_grace(late_s: int, text: str | None) -> None:
    token = raw_token(good(exp=NOW - late_s))
    if text is None:
        assert authenticate(f"bearer {token}", method="GET", path="/clusters", settings=SETTINGS, now_s=NOW)
    else:
        assert token_refusal(token) == f"Token is expired by {text}"


def test_missing_expiry_counts_from_the_epoch() -> None:
    assert token_refusal(raw_token(good(exp=None))) == f"Token is expired by {go_duration(NOW)}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m0s"), (3600, "1h0m0s"), (498713 * 3600 + 26 * 60 + 1, "498713h26m1s")],
)
def test_go_duration(seconds: int, text: str) -> None:
    assert go_duration(seconds) == text


def test_go_duration_stops_where_go_does() -> None:
    assert go_duration(1 << 70) == "2562047h47m16s"


def test_issued_in_the_future_has_a_leeway() -> None:
    assert authenticate(
        f"bearer {raw_token(good(iat=NOW + 120))}", method="GET", path="/clusters", settings=SETTINGS, now_s=NOW
    )
    text = "Token used before issued (client and server clocks may differ)"
    assert token_refusal(raw_token(good(iat=NOW + 121))) == text
    strict = HeketiSettings(admin_key=ADMIN_KEY, user_key=USER_KEY, jwt_iat_leeway_s=0)
    assert refusal(f"bearer {raw_token(good(iat=NOW + 1))}", strict) == (401, f"Invalid JWT token: {text}")


def test_not_before_has_none() -> None:
    assert token_refusal(raw_token(good(nbf=NOW + 1))) == "token is not valid yet"
    assert authenticate(
        f"bearer {raw_token(good(nbf=NOW, iat=None))}", method="GET", path="/clusters", settings=SETTINGS, now_s=NOW
    )


def test_of_several_faults_of_time_the_last_is_told() -> None:
    assert token_refusal(raw_token(good(exp=1, iat=NOW + 999))).startswith("Token used before issued")
    assert token_refusal(raw_token(good(exp=1, nbf=NOW + 9))) == "token is not valid yet"
    assert token_refusal(raw_token(good(exp=1, iat=NOW + 999, nbf=NOW + 9))) == "token is not valid yet"


@pytest.mark.parametrize(
    ("claim", "value", "text"),
    [
        ("exp", "soon", "string into Go struct field HeketiJwtClaims.exp of type int64"),
        ("exp", 1.5, "number 1.5 into Go struct field HeketiJwtClaims.exp of type int64"),
        ("iat", True, "bool into Go struct field HeketiJwtClaims.iat of type int64"),
        ("nbf", [], "array into Go struct field HeketiJwtClaims.nbf of type int64"),
        ("nbf", {}, "object into Go struct field HeketiJwtClaims.nbf of type int64"),
        ("exp", 1 << 63, f"number {1 << 63} into Go struct field HeketiJwtClaims.exp of type int64"),
        ("iss", 5, "number into Go struct field HeketiJwtClaims.iss of type string"),
        ("qsh", 5, "number into Go struct field HeketiJwtClaims.qsh of type string"),
    ],
)
def test_claims_of_the_wrong_type(claim: str, value: object, text: str) -> None:
    assert token_refusal(raw_token(good(**{claim: value}))) == f"json: cannot unmarshal {text}"


def test_a_claim_of_null_is_as_good_as_none() -> None:
    claims = {**good(), "nbf": None, "aud": None}
    token = raw_token(claims)
    assert authenticate(f"bearer {token}", method="GET", path="/clusters", settings=SETTINGS, now_s=NOW)


def test_header_and_claims_must_be_objects() -> None:
    assert token_refusal(raw_token(good(), b"{")) == "unexpected end of JSON input"
    not_a_map = "json: cannot unmarshal array into Go value of type map[string]interface {}"
    assert token_refusal(raw_token(good(), [1])) == not_a_map
    assert token_refusal(raw_token(b"xyz")) == "invalid character 'x' looking for beginning of value"
    assert token_refusal(raw_token([1])).startswith("json: cannot unmarshal array into Go value")


@pytest.mark.parametrize("value", [None, "", "x", qsh("POST", "/clusters"), qsh("GET", "/clusters?x=1"), "\u00e9"])
def test_qsh_binds_to_method_and_path(value: str | None) -> None:
    assert refusal(f"bearer {raw_token(good(qsh=value))}") == (401, "Invalid qsh claim in token")


def test_qsh_is_lower_case_hex_of_the_decoded_path() -> None:
    path = "/clusters/\u00e9 x"
    claim = hashlib.sha256(f"GET&{path}".encode()).hexdigest()
    token = raw_token(good(qsh=claim))
    assert authenticate(f"bearer {token}", method="GET", path=path, settings=SETTINGS, now_s=NOW) is Role.ADMIN
    assert refusal(f"bearer {raw_token(good(qsh=claim.upper()))}", path=path)[1] == "Invalid qsh claim in token"


def user_token(method: str, path: str) -> str:
    return make_token(method, path, key=USER_KEY, issuer="user")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/volumes", 200),
        ("POST", "/volumes", 422),
        ("DELETE", "/volumes", 405),
        ("GET", "/volumes/", 401),
        ("GET", "/volumes/0123456789abcdef0123456789abcdef", 401),
        ("GET", "/queue/0123456789abcdef0123456789abcdef", 401),
        ("GET", "/clusters", 401),
        ("GET", "/nothing", 401),
    ],
)
def test_user_role_has_volumes_only(client: Client, method: str, path: str, status: int) -> None:
    answer = client.send(method, path, token=user_token(method, path))
    assert answer.status_code == status
    if status == 401:
        assert answer.text == "Administrator access required\n"


def test_query_is_not_part_of_the_claim(client: Client) -> None:
    assert client.send("GET", "/clusters?x=1", token=make_token("GET", "/clusters")).status_code == 200


def test_the_wire_form_of_a_refused_token(client: Client) -> None:
    token = make_token("GET", "/clusters", exp=int(time.time()) - 100_000)
    answer = client.send("GET", "/clusters", token=token)
    assert answer.status_code == 401
    assert answer.text.startswith("Invalid JWT token: Token is expired by 27h46m4")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"

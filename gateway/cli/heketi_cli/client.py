"""How `heketi-cli` speaks to the server: tokens, redirects, the queue, and patience when the server is busy."""

import base64
import hashlib
import hmac
import json
import random
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

_TOKEN_LIFETIME_S = 300
_TIMEOUT_S = 120.0
_FIRST_POLL_S, _POLL_S = 0.05, 0.4
# Heketi's client asks a busy server six times more, after 10 to 30 seconds each.
_BUSY_RETRIES, _BUSY_MIN_S, _BUSY_MAX_S = 6, 10, 30
_RETRY_AFTER_SPREAD_S = 9
_SHOW_PATIENCE_S = 2.0


class ServerFault(Exception):  # noqa: N818 - told to people; it is no bug of ours
    """The server refused or failed, or cannot be reached; the text is told after `Error: `."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is, and who asks.

    Attributes:
        url: Its base URL.
        user: The issuer of the tokens; empty = none.
        secret: The key that signs them.
        insecure: Whether its certificate is not checked.
        certificates: PEM files that check it.
    """

    url: str
    user: str
    secret: str
    insecure: bool = False
    certificates: tuple[str, ...] = ()


def make_token(user: str, secret: str, method: str, path: str) -> str:
    """A token for one request. Written out because libraries refuse the empty key that a client without one sends."""
    now = int(time.time())
    digest = hashlib.sha256(f"{method}&{path}".encode()).hexdigest()
    claims = {"iss": user, "iat": now, "exp": now + _TOKEN_LIFETIME_S, "qsh": digest}
    if not user:
        del claims["iss"]
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = ".".join(map(_base64, parts))
    return f"{signed}.{_base64(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Client:
    """Speaks to one server. Use it in a `with` block."""

    def __init__(
        self,
        server: Server,
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connects to nothing yet.

        Raises:
            ServerFault: A certificate file cannot be read.
        """
        self._server = server
        self._base = server.url.rstrip("/")
        self._pause = pause
        self._http = httpx.Client(
            timeout=_TIMEOUT_S, follow_redirects=False, verify=_verification(server), transport=transport
        )
        self._began = time.monotonic()
        self._dots = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dots:
            sys.stderr.write("\n")
        self._http.close()

    def get(self, path: str) -> Any:
        """The JSON of a GET; keys keep their order.

        Raises:
            ServerFault: The answer is not 200.
        """
        return json.loads(self.get_text(path))

    def get_text(self, path: str) -> str:
        """The body of a GET.

        Raises:
            ServerFault: The answer is not 200.
        """
        answer = self._send("GET", path)
        if answer.status_code != httpx.codes.OK:
            raise _fault(answer)
        return answer.text

    def get_bytes(self, path: str) -> bytes:
        """The body of a GET that is no text.

        Raises:
            ServerFault: The answer is not 200.
        """
        answer = self._send("GET", path)
        if answer.status_code != httpx.codes.OK:
            raise _fault(answer)
        return answer.content

    def change(self, method: str, path: str, body: Any = None) -> Any:
        """A change, followed through the queue to its end; the JSON of its result, None when it has none.

        Raises:
            ServerFault: It was refused, or it failed.
        """
        answer = self._send(method, path, body)
        if answer.status_code == httpx.codes.ACCEPTED:
            return self._follow(answer.headers["Location"])
        if not answer.is_success:
            raise _fault(answer)
        return json.loads(answer.text) if answer.text.strip() else None

    def _follow(self, location: str) -> Any:
        wait_s = _FIRST_POLL_S
        while True:
            answer = self._send("GET", location)
            if "X-Pending" not in answer.headers or answer.headers["X-Pending"] != "true":
                break
            self._show_patience()
            # The protocol has no way to be told; Heketi's own client asks every 0.4 s.
            self._pause(wait_s)
            wait_s = min(2 * wait_s, _POLL_S)
        if answer.status_code == httpx.codes.SEE_OTHER:
            return self.get(answer.headers["Location"])
        if not answer.is_success:
            raise _fault(answer)
        return None

    def _send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        for attempt in range(_BUSY_RETRIES + 1):
            answer = self._request(method, path, body)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS or attempt == _BUSY_RETRIES:
                break
            self._show_patience()
            self._pause(_busy_wait_s(answer.headers.get("Retry-After", "")))
        return answer

    def _request(self, method: str, path: str, body: Any) -> httpx.Response:
        token = make_token(self._server.user, self._server.secret, method, path)
        content = None if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        url = self._base + path
        headers = {"Authorization": f"bearer {token}"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            return self._http.request(method, url, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise ServerFault(f'{method.capitalize()} "{url}": {_in_go_words(error, url)}') from error
        except httpx.InvalidURL as error:
            raise ServerFault(f'{method.capitalize()} "{url}": {error}') from error

    def _show_patience(self) -> None:
        """A dot now and then for whoever watches; nothing for a script."""
        if sys.stderr.isatty() and time.monotonic() - self._began > _SHOW_PATIENCE_S * (1 + self._dots):
            sys.stderr.write(".")
            sys.stderr.flush()
            self._dots += 1


def _verification(server: Server) -> ssl.SSLContext | bool:
    if server.insecure:
        return False
    if not server.certificates:
        return True
    context = ssl.create_default_context()
    for path in server.certificates:
        try:
            context.load_verify_locations(path)
        except OSError as error:
            raise ServerFault(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    return context


def _busy_wait_s(retry_after: str) -> float:
    if retry_after.isdigit():
        return int(retry_after) + random.uniform(0, _RETRY_AFTER_SPREAD_S)  # noqa: S311 - jitter, no secret
    return random.uniform(_BUSY_MIN_S, _BUSY_MAX_S)  # noqa: S311 - jitter, no secret


def _fault(answer: httpx.Response) -> ServerFault:
    return ServerFault(answer.text.strip() or f"server answered {answer.status_code}")


def _in_go_words(error: httpx.HTTPError, url: str) -> str:
    """Why the server was not reached, as Go's network library says it where scripts look for it."""
    reasons: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        reasons.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    whole = " ".join(reasons)
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    if "Connection refused" in whole:
        return f"dial tcp {where}: connect: connection refused"
    if any(text in whole for text in ("Name or service not known", "No address associated", "name resolution")):
        return f"dial tcp: lookup {parts.hostname}: no such host"
    return str(error)

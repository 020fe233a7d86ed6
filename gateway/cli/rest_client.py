"""A client of the REST interface: a token a request, the queue followed to its end, patience with a busy server."""

import random
import ssl
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from gateway.cli.tokens import make_token
from services.common.errors import BrickyardError, UnavailableError
from services.common.reasons import Reason

_FIRST_POLL_S, _POLL_S = 0.05, 0.4
# Heketi's client asks a busy server six times more, after 10 to 30 seconds each unless the server names a pause.
_BUSY_RETRIES, _BUSY_MIN_S, _BUSY_MAX_S = 6, 10, 30
_RETRY_AFTER_SPREAD_S = 9


class RestError(BrickyardError):
    """The gateway refused; the text is its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(Reason.INTERNAL, text or f"server answered {status}", status=status)
        self.status = status


def trust_in(certificates: Sequence[str]) -> ssl.SSLContext:
    """What the system trusts, and the certificates in these PEM files.

    Raises:
        OSError: One of the files cannot be read; it has the name of it.
    """
    context = ssl.create_default_context()
    for path in certificates:
        try:
            context.load_verify_locations(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), path) from error
    return context


class RestClient:
    """Speaks to one gateway. Use it in a `with` block."""

    def __init__(
        self,
        server: str,
        *,
        key: str,
        user: str = "admin",
        always_sign: bool = False,
        timeout_s: float = 60.0,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            server: URL of the REST interface.
            key: The JWT key of the user; empty = the server asks for no tokens.
            user: Who asks; empty = nobody is named.
            always_sign: Whether a token is sent also without a key.
            timeout_s: How long one answer may take.
            verify: How the server's certificate is checked.
            transport: The way to a network that is not ours.
            pause: Waits so many seconds.
            on_wait: Called before each pause.
        """
        self._server = server.rstrip("/")
        self._key = key
        self._user = user
        self._signs = always_sign or bool(key)
        self._pause = pause
        self._on_wait = on_wait
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=False, verify=verify, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One request, whatever the status of its answer.

        Raises:
            UnavailableError: The gateway does not answer.
        """
        headers = {}
        if self._signs:
            headers["Authorization"] = f"bearer {make_token(self._key, user=self._user, method=method, path=path)}"
        try:
            return self._http.request(method, self._server + path, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(
                Reason.UNAVAILABLE, f"{self._server} does not answer: {error}; is the gateway running?"
            ) from error

    def get(self, path: str) -> Any:
        """The JSON of a GET; keys keep their order.

        Raises:
            RestError: The answer is not 200, or no JSON.
            UnavailableError: There is none.
        """
        return self._json(path, self.read(path))

    def read(self, path: str) -> httpx.Response:
        """The answer of a GET.

        Raises:
            RestError: It is not 200.
            UnavailableError: There is none.
        """
        response = self._patiently("GET", path)
        if response.status_code != httpx.codes.OK:
            raise RestError(response.status_code, response.text.strip())
        return response

    def change(self, method: str, path: str, body: Any = None) -> Any:
        """A POST or DELETE, followed through the queue to its end; the JSON of the result, None when there is none.

        Raises:
            RestError: It was refused, or it failed.
            UnavailableError: There is no answer.
        """
        response = self._patiently(method, path, {} if body is None and method == "POST" else body)
        if response.status_code == httpx.codes.ACCEPTED:
            return self._follow(response.headers["Location"])
        if not response.is_success:
            raise RestError(response.status_code, response.text.strip())
        return self._json(path, response) if response.text.strip() else None

    def _json(self, path: str, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise RestError(
                response.status_code,
                f"{self._server}{path} answered what is no JSON ({error}); is this a gateway's URL?",
            ) from error

    def _follow(self, location: str) -> Any:
        wait_s = _FIRST_POLL_S
        while (response := self._patiently("GET", location)).headers.get("X-Pending") == "true":
            # Heketi's protocol has no long poll: the client asks again.
            self._wait(wait_s)
            wait_s = min(2 * wait_s, _POLL_S)
        if response.status_code == httpx.codes.SEE_OTHER:
            return self.get(response.headers["Location"])
        if not response.is_success:
            raise RestError(response.status_code, response.text.strip())
        return None

    def _patiently(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer; a busy server is asked again."""
        for attempt in range(_BUSY_RETRIES + 1):
            response = self.request(method, path, body)
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS or attempt == _BUSY_RETRIES:
                break
            self._wait(_busy_wait_s(response.headers.get("Retry-After", "")))
        return response

    def _wait(self, seconds: float) -> None:
        self._on_wait()
        self._pause(seconds)


def _busy_wait_s(retry_after: str) -> float:
    if retry_after.isdigit():
        return int(retry_after) + random.uniform(0, _RETRY_AFTER_SPREAD_S)  # noqa: S311 - jitter, no secret
    return random.uniform(_BUSY_MIN_S, _BUSY_MAX_S)  # noqa: S311 - jitter, no secret

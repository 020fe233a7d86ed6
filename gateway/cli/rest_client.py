"""A client of the REST interface, as Heketi's own: a token a request, the queue followed to its end."""

import hashlib
import time
from types import TracebackType
from typing import Any, Self

import httpx
import jwt

from services.common.errors import BrickyardError, UnavailableError
from services.common.reasons import Reason

_POLL_INTERVAL_S = 0.2
_TOKEN_LIFETIME_S = 300


class RestError(BrickyardError):
    """The gateway refused; the text is its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(Reason.INTERNAL, text, status=status)
        self.status = status


def make_token(key: str, *, user: str, method: str, path: str, lifetime_s: int = _TOKEN_LIFETIME_S) -> str:
    """A token for one request: the path counts, not the query."""
    now = int(time.time())
    digest = hashlib.sha256(f"{method.upper()}&{path}".encode()).hexdigest()
    return jwt.encode({"iss": user, "iat": now, "exp": now + lifetime_s, "qsh": digest}, key, algorithm="HS256")


class RestClient:
    """Speaks to one gateway. Use it in a `with` block."""

    def __init__(
        self,
        server: str,
        *,
        key: str,
        user: str = "admin",
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`key` empty means that the server asks for no tokens; `transport` is for a network that is not ours."""
        self._server = server.rstrip("/")
        self._key = key
        self._user = user
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=False, transport=transport)

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
        if self._key:
            # A token is for the path alone, as Heketi's clients make them.
            plain = path.partition("?")[0]
            headers["Authorization"] = f"bearer {make_token(self._key, user=self._user, method=method, path=plain)}"
        try:
            return self._http.request(method, self._server + path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise UnavailableError(
                Reason.UNAVAILABLE, f"{self._server} does not answer: {error}; is the gateway running?"
            ) from error

    def get(self, path: str) -> Any:
        """The JSON of a GET.

        Raises:
            RestError: The answer is not 200.
        """
        response = self.request("GET", path)
        if response.status_code != httpx.codes.OK:
            raise RestError(response.status_code, response.text.strip())
        return response.json()

    def change(self, method: str, path: str, body: Any = None) -> Any:
        """A POST or DELETE, followed through the queue to its end; the JSON of the result, None when there is none.

        Raises:
            RestError: It was refused, or it failed.
        """
        response = self.request(method, path, {} if body is None and method == "POST" else body)
        if response.status_code == httpx.codes.ACCEPTED:
            return self._follow(response.headers["Location"])
        if not response.is_success:
            raise RestError(response.status_code, response.text.strip())
        return response.json() if response.content else None

    def _follow(self, location: str) -> Any:
        while True:
            response = self.request("GET", location)
            if response.status_code == httpx.codes.SEE_OTHER:
                return self.get(response.headers["Location"])
            if response.status_code == httpx.codes.NO_CONTENT:
                return None
            if response.status_code != httpx.codes.OK or "X-Pending" not in response.headers:
                raise RestError(response.status_code, response.text.strip())
            # Heketi's protocol has no long poll: the client asks again.
            time.sleep(_POLL_INTERVAL_S)

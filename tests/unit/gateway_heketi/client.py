"""A client for tests: sends requests to the app without a socket, with tokens of the given secrets."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx
import jwt

from gateway.heketi.app import HeketiApp

ADMIN_KEY = "the secret of the admin, long enough for HS512 to be content with it......"
USER_KEY = "the secret of the user, long enough for HS512 to be content with it......."


def qsh(method: str, path: str) -> str:
    """The claim that binds a token to one request."""
    return hashlib.sha256(f"{method}&{path}".encode()).hexdigest()


def make_token(
    method: str, path: str, *, key: str = ADMIN_KEY, algorithm: str = "HS256", issuer: str = "admin", **claims: Any
) -> str:
    """A token as Heketi's clients make it; a claim that is given as None is left out."""
    now = int(time.time())
    payload = {"iss": issuer, "iat": now, "exp": now + 60, "qsh": qsh(method, path), **claims}
    return jwt.encode({key: value for key, value in payload.items() if value is not None}, key, algorithm=algorithm)


class Client:
    """Sends requests as the admin, unless told otherwise."""

    def __init__(self, app: HeketiApp) -> None:
        self._runner = asyncio.Runner()
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | None = "",
    ) -> httpx.Response:
        """Sends a request. An empty token means the admin's own; None means none."""
        bearer = make_token(method, path.split("?", maxsplit=1)[0]) if token == "" else token
        sent = {**({} if bearer is None else {"Authorization": f"bearer {bearer}"}), **(headers or {})}
        return self._runner.run(self._http.request(method, f"http://heketi{path}", content=body, headers=sent))

    def run(self, coroutine: Any) -> Any:
        """Runs a coroutine in the client's loop."""
        return self._runner.run(coroutine)

    def get(self, path: str) -> httpx.Response:
        return self.send("GET", path)

    def post(self, path: str, body: bytes | str | None = None, **headers: str) -> httpx.Response:
        return self.send("POST", path, body, headers=headers)

    def delete(self, path: str, body: bytes | str | None = None) -> httpx.Response:
        return self.send("DELETE", path, body)

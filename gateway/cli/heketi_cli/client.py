"""How `heketi-cli` speaks to the server: with the words of Heketi's client when something fails."""

import contextlib
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from gateway.cli.rest_client import RestClient, RestError, trust_in
from services.common.errors import UnavailableError

_TIMEOUT_S = 120.0
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
        self._base = server.url.rstrip("/")
        self._began = time.monotonic()
        self._dots = 0
        self._rest = RestClient(
            server.url,
            key=server.secret,
            user=server.user,
            # Without a key too: the server then answers as it answers Heketi's client.
            always_sign=True,
            timeout_s=_TIMEOUT_S,
            verify=_verification(server),
            transport=transport,
            pause=pause,
            on_wait=self._show_patience,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dots:
            sys.stderr.write("\n")
        self._rest.__exit__(kind, error, trace)

    def get(self, path: str) -> Any:
        """The JSON of a GET; keys keep their order.

        Raises:
            ServerFault: The answer is not 200.
        """
        with self._in_heketis_words("Get", path):
            return self._rest.get(path)

    def get_text(self, path: str) -> str:
        """The body of a GET.

        Raises:
            ServerFault: The answer is not 200.
        """
        with self._in_heketis_words("Get", path):
            return self._rest.read(path).text

    def get_bytes(self, path: str) -> bytes:
        """The body of a GET that is no text.

        Raises:
            ServerFault: The answer is not 200.
        """
        with self._in_heketis_words("Get", path):
            return self._rest.read(path).content

    def change(self, method: str, path: str, body: Any = None) -> Any:
        """A change, followed through the queue to its end; the JSON of its result, None when it has none.

        Raises:
            ServerFault: It was refused, or it failed.
        """
        with self._in_heketis_words(method.capitalize(), path):
            return self._rest.change(method, path, body)

    @contextlib.contextmanager
    def _in_heketis_words(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except RestError as error:
            raise ServerFault(error.message) from error
        except UnavailableError as error:
            url = self._base + path
            raise ServerFault(f'{verb} "{url}": {_in_go_words(error.__cause__ or error, url)}') from error

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
    try:
        return trust_in(server.certificates)
    except OSError as error:
        raise ServerFault(f"open {error.filename}: {(error.strerror or str(error)).lower()}") from error


def _in_go_words(error: BaseException, url: str) -> str:
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

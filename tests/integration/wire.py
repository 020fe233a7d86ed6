"""HTTP by hand: exactly the bytes that a test wants, and the answer as it came. Judges nothing."""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.integration.clients import KEYS

_WITHIN_S = 20.0


def token(method: str, path: str, *, user: str = "admin", born_s: float = 0, lives_s: int = 60, key: str = "") -> str:
    """A token for one request, born so many seconds from now."""
    born = int(time.time() + born_s)
    claims = {
        "iss": user,
        "iat": born,
        "exp": born + lives_s,
        "qsh": hashlib.sha256(f"{method}&{path}".encode()).hexdigest(),
    }
    parts = [_coded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.digest((key or KEYS[user]).encode(), ".".join(parts).encode(), "sha256")
    return ".".join((*parts, _coded(signature)))


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, headers with names in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Wire:
    """One kept connection to a server.

    Attributes:
        url: "http://host:port" or "https://host:port".
        context: For https.
    """

    url: str
    context: ssl.SSLContext | None = None
    _socket: socket.socket | None = field(default=None, repr=False)

    def send(self, raw: bytes, *, method: str = "GET") -> Reply:
        """Sends bytes and reads one answer; `method` tells whether it has a body."""
        if self._socket is None:
            where = urlsplit(self.url)
            assert where.hostname is not None
            plain = socket.create_connection((where.hostname, where.port or 80), timeout=_WITHIN_S)
            self._socket = self.context.wrap_socket(plain, server_hostname=where.hostname) if self.context else plain
        self._socket.sendall(raw)
        answer = http.client.HTTPResponse(self._socket, method=method)
        answer.begin()
        body = answer.read()
        reply = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)
        if answer.will_close:
            self.close()
        return reply

    def ask(self, method: str, path: str, body: bytes = b"", *headers: str, authorization: str = "") -> Reply:
        """A request with no other headers than a client must send, and `headers`."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(self.url).netloc}", *headers]
        if authorization:
            lines.append(f"Authorization: {authorization}")
        if body or method in {"POST", "DELETE"}:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join((*lines, "", "")).encode() + body, method=method)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

"""Requests and answers as ASGI carries them, and the few forms of answer that the dialect has. Effects: ASGI."""

import html
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gateway.heketi.texts import refusals

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json; charset=UTF-8")
_HTML_TYPE: Header = (b"content-type", b"text/html; charset=utf-8")
_ERROR_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
)
# What Go's url.URL leaves unescaped in a path.
_PATH_SAFE = "/$&+,:;=@~"


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete; nobody is there to answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Attributes:
        status: HTTP status.
        body: The whole body.
        headers: Headers but Content-Length, names in lower case.
    """

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()


class Request:
    """One request, with what the route found in its path."""

    __slots__ = (
        "_headers",
        "_max_body_bytes",
        "_receive",
        "client_host",
        "method",
        "path",
        "query",
        "route",
        "target_id",
    )

    def __init__(self, scope: Scope, receive: Receive, max_body_bytes: int) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.target_id = ""
        # The path of its route, which names no object; empty when it has none.
        self.route = ""
        client = scope.get("client")
        # On a socket for both families, IPv4 addresses come in IPv6's clothes.
        self.client_host: str = client[0].removeprefix("::ffff:") if client else ""
        self._headers: Iterable[Header] = scope["headers"]
        self._receive = receive
        self._max_body_bytes = max_body_bytes

    def header(self, name: bytes) -> str | None:
        """The first header with the lower-case `name`, without blanks around it; None when there is none."""
        for key, value in self._headers:
            if key == name:
                # The server cuts off those before a value only.
                return value.decode("latin-1").strip(" \t")
        return None

    @property
    def idempotency_key(self) -> str | None:
        """What makes a repeated change the same change: our own header Idempotency-Key, when it is there."""
        return self.header(b"idempotency-key") or None

    @property
    def declared_length(self) -> int:
        """Content-Length; 0 when there is none, as for a chunked body."""
        value = self.header(b"content-length") or ""
        return int(value) if value.isascii() and value.isdigit() else 0

    async def body(self) -> bytes:
        """The whole body, chunked or not.

        Raises:
            Refused: It is larger than the limit.
            ClientGoneError: The client went away.
        """
        if self.declared_length > self._max_body_bytes:
            raise refusals.body_too_large(self._max_body_bytes)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body_bytes:
                raise refusals.body_too_large(self._max_body_bytes)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)


async def send_answer(send: Send, answer: Answer, request_id: str) -> None:
    """Sends an answer, with its length and the request's id."""
    headers = [*answer.headers, (b"x-request-id", request_id.encode())]
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def json_answer(body: bytes, status: int = 200) -> Answer:
    """A JSON body."""
    return Answer(status, body, (JSON_TYPE,))


def error_answer(refused: refusals.Refused) -> Answer:
    """A refusal as plain text with the newline that Go's http.Error adds."""
    headers = _ERROR_HEADERS
    if refused.retry_after_s:
        headers = (*headers, (b"retry-after", b"%d" % refused.retry_after_s))
    return Answer(refused.status, f"{refused.text}\n".encode(errors="replace"), headers)


def accepted(operation_id: str) -> Answer:
    """The change has been recorded; its operation is the queue entry to poll."""
    return Answer(202, headers=((b"location", b"/queue/" + operation_id.encode()),))


def accepted_page(operation_id: str) -> Answer:
    """The same for a GET, which Heketi answers with a page."""
    return _redirect(202, f"/queue/{operation_id}", "Accepted", with_body=True)


def see_other(path: str) -> Answer:
    """What a finished operation made is found at `path`."""
    return _redirect(303, path, "See Other", with_body=True)


def moved(path: str, query: bytes, *, with_body: bool) -> Answer:
    """The same resource has its one address at `path`, which is not escaped yet; the query is kept."""
    target = quote(path, safe=_PATH_SAFE) + (f"?{query.decode('latin-1')}" if query else "")
    return _redirect(301, target, "Moved Permanently", with_body=with_body)


def _redirect(status: int, target: str, phrase: str, *, with_body: bool) -> Answer:
    location = (b"location", target.encode("latin-1"))
    if not with_body:
        return Answer(status, headers=(location,))
    return Answer(status, f'<a href="{html.escape(target)}">{phrase}</a>.\n\n'.encode(), (_HTML_TYPE, location))

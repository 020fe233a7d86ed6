"""The ASGI application of the REST face: middleware in Heketi's order, routes, errors. Effects: ASGI, clock, log."""

import time
from typing import Protocol

from gateway.heketi import jwt
from gateway.heketi.admin import AdminMode
from gateway.heketi.context import Context
from gateway.heketi.http import (
    Answer,
    ClientGoneError,
    Receive,
    Request,
    Scope,
    Send,
    error_answer,
    json_answer,
    moved,
    send_answer,
)
from gateway.heketi.openapi import DOCUMENT
from gateway.heketi.router import Elsewhere, Found, Router, Unknown, clean_path
from gateway.heketi.routes import TABLE, capacity
from gateway.heketi.routes import state as whole_state
from gateway.heketi.settings import HeketiSettings
from gateway.heketi.texts import errors, refusals
from gateway.usecases import UseCases
from gateway.usecases.health import HealthUseCases
from gateway.usecases.state import StateUseCases
from services.common import tracing
from services.common.context import enter_request
from services.common.errors import BrickyardError
from services.common.logs import get_logger

_log = get_logger()
# What may be read without a token: exactly these paths, and only with GET.
_OPEN = {
    "/hello": Answer(200, refusals.HELLO, ((b"content-type", b"text/plain; charset=UTF-8"),)),
    "/openapi.json": json_answer(DOCUMENT),
}
_WRONG_METHOD = Answer(405)
_METRICS_HEADERS = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)


class Monitor(Protocol):
    """Counts what the REST face does, and shows all counts."""

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is the path of its route, empty when it has none."""

    async def render(self) -> bytes:
        """All metrics in Prometheus' text format."""


def build_app(
    use_cases: UseCases,
    settings: HeketiSettings,
    *,
    health: HealthUseCases | None = None,
    state: StateUseCases | None = None,
    monitor: Monitor | None = None,
) -> "HeketiApp":
    """The REST face over `use_cases`, for any ASGI server. It starts and stops nothing itself.

    Args:
        use_cases: What it can do.
        settings: How it behaves.
        health: For the cluster extensions; without it they are unknown paths.
        state: For dump, check, backup and examination; the same.
        monitor: For GET /metrics; without it that is an unknown path.
    """
    return HeketiApp(use_cases, settings, health=health, state=state, monitor=monitor)


class HeketiApp:
    """See `build_app`."""

    def __init__(
        self,
        use_cases: UseCases,
        settings: HeketiSettings,
        *,
        health: HealthUseCases | None = None,
        state: StateUseCases | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        self._context = Context(use_cases, settings, AdminMode(settings.default_mode))
        self._router = Router(
            (
                *TABLE,
                *(capacity.routes(health) if health is not None else ()),
                *(whole_state.routes(state) if state is not None else ()),
            )
        )
        self._monitor = monitor

    def reset_admin_mode(self) -> None:
        """Ends a read-only or local mode: what SIGUSR2 is for."""
        self._context.admin.reset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI scope."""
        if scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        else:
            raise ValueError(f"{scope['type']} is not served here")

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request = Request(scope, receive, self._context.settings.max_body_bytes)
        request_id = enter_request(request.header(b"x-request-id"))
        carrier = [(key, request.header(key.encode())) for key in ("traceparent", "tracestate")]
        with tracing.served(request.method, carrier, code_attribute="http.response.status_code") as span:
            try:
                answer = await self._answer(request, scope.get("query_string", b""))
            except ClientGoneError:
                _log.info("request.abandoned", method=request.method, path=request.path)
                return
            except Exception:  # noqa: BLE001 - the last line of defence; a client must get an answer
                _log.exception("request.crashed", method=request.method, path=request.path)
                answer = error_answer(refusals.crashed(request_id))
            name = f"{request.method} {request.route or 'other'}"
            span.end_with(str(answer.status), failed=answer.status >= 500, name=name)
        # Reads come by the thousand from pollers; what changes something or fails is worth a line.
        note = _log.debug if request.method == "GET" and answer.status < 500 else _log.info
        note(
            "request.answered",
            method=request.method,
            path=request.path,
            status=answer.status,
            duration_s=round(time.perf_counter() - began, 6),
        )
        if self._monitor is not None:
            self._monitor.observe_request(request.method, request.route, answer.status, time.perf_counter() - began)
        await send_answer(send, answer, request_id)

    async def _answer(self, request: Request, query: bytes) -> Answer:
        """Clean paths first, then what is open to all, then the token and its role, then the routes."""
        path = clean_path(request.path)
        if path != request.path:
            return moved(path, query, with_body=False)
        if request.method == "GET" and path in _OPEN:
            return _OPEN[path]
        if request.method == "GET" and path == "/metrics" and self._monitor is not None:
            request.route = path
            return Answer(200, await self._monitor.render(), _METRICS_HEADERS)
        try:
            self._check_token(request)
            self._context.admin.check(request.method, request.client_host)
            return await self._dispatch(request, query)
        except refusals.Refused as refused:
            return error_answer(refused)

    def _check_token(self, request: Request) -> None:
        settings = self._context.settings
        if not settings.auth_enabled:
            return
        role = jwt.authenticate(
            request.header(b"authorization"),
            method=request.method,
            path=request.path,
            settings=settings,
            now_s=int(time.time()),
        )
        jwt.check_role(role, request.path)

    async def _dispatch(self, request: Request, query: bytes) -> Answer:
        found = self._router.find(request.method, request.path)
        if isinstance(found, Unknown):
            raise refusals.unknown_path()
        if isinstance(found, Elsewhere):
            return moved(found.path, query, with_body=request.method == "GET")
        if not isinstance(found, Found):
            return _WRONG_METHOD
        request.target_id, request.route = found.target_id, found.route.path
        try:
            return await found.route.handler(request, self._context)
        except BrickyardError as error:
            refused = errors.refused_by(error, found.route.action, found.target_id)
            if refused.status >= 500:
                _log.warning("request.refused", reason=error.reason.value, message=error.message)
            raise refused from error


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    """Nothing is to be started here; whoever builds the app owns the use cases."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

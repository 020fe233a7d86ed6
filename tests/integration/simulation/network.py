"""Calls between the parts without sockets: they may be lost, late, or answered to nobody. Effects: the loop's clock."""

import asyncio
import random
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any

import grpc

from services.common.errors import BrickyardError, InternalError, to_status
from services.common.reasons import Reason


@dataclass(slots=True)
class Weather:
    """How likely things go wrong; all 0 = calm.

    Attributes:
        lost: A call never arrives, and its caller learns of it.
        late: A call arrives after a while, for which its caller may not wait.
        unanswered: A call is carried out, and its answer is lost.
        command_fails: A command of a node fails.
        agent_dies: The agent is killed in the midst of a change, before or after a command.
    """

    lost: float = 0.0
    late: float = 0.0
    unanswered: float = 0.0
    command_fails: float = 0.0
    agent_dies: float = 0.0


STORM = Weather(lost=0.01, late=0.012, unanswered=0.01, command_fails=0.006, agent_dies=0.004)
_LATEST_S = 60.0
_NOTICED_AFTER_S = 0.05


class Caller:
    """Somebody who may die.

    Attributes:
        alive: Nothing that the dead say is heard.
        tasks: What runs for them.
    """

    def __init__(self) -> None:
        self.alive = True
        self.tasks: set[asyncio.Task[Any]] = set()


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


def owned_task(loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None) -> "asyncio.Task[Any]":
    """A task factory that tells every caller its tasks, so that they can die with it."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    caller = context.get(CALLER) if context is not None else CALLER.get()
    if caller is not None:
        caller.tasks.add(task)
        task.add_done_callback(caller.tasks.discard)
    return task


class CallContext:
    """What a servicer may ask of a call."""

    def __init__(self, metadata: Any, timeout_s: float | None) -> None:
        self._metadata = tuple(metadata or ())
        self._timeout_s = timeout_s

    def invocation_metadata(self) -> tuple[Any, ...]:
        return self._metadata

    def time_remaining(self) -> float | None:
        return self._timeout_s

    def add_callback(self, callback: Callable[[], None]) -> bool:
        del callback
        return True

    def is_active(self) -> bool:
        return True


def _rpc_error(error: BrickyardError) -> grpc.aio.AioRpcError:
    status = to_status(error)
    trailers = grpc.aio.Metadata(*(status.trailing_metadata or ()))
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailers, details=status.details)


def _failed(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


class Network:
    """Everybody's way to everybody.

    Args:
        chance: Where fate comes from.

    Attributes:
        weather: What happens at random.
        calls: How many there were.
        mishaps: How many things went wrong.
        planned: Mishaps that happen once, and how many occasions pass before.
    """

    def __init__(self, chance: random.Random) -> None:
        self.weather = Weather()
        self.calls = 0
        self.mishaps = 0
        self.planned: dict[str, int] = {}
        self._chance = chance
        self._servicers: dict[str, Callable[[], Any]] = {}
        self._under_way: set[asyncio.Task[Any]] = set()

    def serve(self, target: str, servicers: Callable[[], Any]) -> None:
        """`servicers` gives the servicers of a target by service name, or None while it is down."""
        self._servicers[target] = servicers

    def channel(self, target: str, *_more: Any, **_named: Any) -> "Channel":
        """A channel, for gRPC's stubs."""
        return Channel(self, target)

    def strikes(self, mishap: str) -> bool:
        """Whether a mishap, called as in `Weather`, happens now: by the weather, or because it was planned."""
        probability = getattr(self.weather, mishap)
        happens = bool(probability) and self._chance.random() < probability
        if mishap in self.planned:
            self.planned[mishap] -= 1
            if self.planned[mishap] < 0:
                del self.planned[mishap]
                happens = True
        self.mishaps += happens
        return happens

    async def call(self, target: str, path: str, request: Any, timeout_s: float, metadata: Any) -> Any:
        """One call, as gRPC's client sees it. Raises AioRpcError."""
        caller = CALLER.get()
        if caller is not None and not caller.alive:
            raise asyncio.CancelledError
        self.calls += 1
        # Also in calm weather: the order of what happens at once is not to be relied on.
        await asyncio.sleep(self._chance.uniform(0.0005, 0.003))
        if self.strikes("lost"):
            await asyncio.sleep(_NOTICED_AFTER_S)
            raise _failed(grpc.StatusCode.UNAVAILABLE, "the call got lost")
        copy = type(request).FromString(request.SerializeToString())
        if self.strikes("late"):
            return await self._late(target, path, copy, timeout_s, metadata)
        answer = self._carry_out(target, path, copy, timeout_s, metadata)
        if self.strikes("unanswered"):
            await asyncio.sleep(_NOTICED_AFTER_S)
            raise _failed(grpc.StatusCode.UNAVAILABLE, "the answer got lost")
        return answer

    async def _late(self, target: str, path: str, request: Any, timeout_s: float, metadata: Any) -> Any:
        delay_s = self._chance.uniform(0, _LATEST_S)

        async def arrive() -> Any:
            await asyncio.sleep(delay_s)
            return self._carry_out(target, path, request, timeout_s, metadata)

        # It is under way whatever becomes of its caller.
        task = asyncio.get_running_loop().create_task(arrive(), context=Context())
        self._under_way.add(task)
        task.add_done_callback(self._arrived)
        try:
            # Whoever gives up does not stop what is under way.
            return await asyncio.wait_for(asyncio.shield(task), timeout_s)
        except TimeoutError:
            raise _failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None

    def _arrived(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()

    def _carry_out(self, target: str, path: str, request: Any, timeout_s: float, metadata: Any) -> Any:
        _, service, method = path.split("/")
        servicers = self._servicers[target]()
        if servicers is None:
            raise _failed(grpc.StatusCode.UNAVAILABLE, f"{target} is down")
        try:
            answer = getattr(servicers[service], method)(request, CallContext(metadata, timeout_s))
        except BrickyardError as error:
            raise _rpc_error(error) from error
        except Exception as error:
            # As the interceptor does it, which is not here.
            raise _rpc_error(InternalError(Reason.INTERNAL, repr(error))) from error
        return type(answer).FromString(answer.SerializeToString())

    async def settle(self) -> None:
        """Waits until nothing is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))


class Channel:
    """As much of a gRPC channel as stubs need."""

    def __init__(self, network: Network, target: str) -> None:
        self._network = network
        self._target = target

    def unary_unary(self, path: str, *_more: Any, **_named: Any) -> Callable[..., Any]:
        async def call(request: Any, *, timeout: float = 15.0, metadata: Any = ()) -> Any:  # noqa: ASYNC109 - gRPC's
            return await self._network.call(self._target, path, request, timeout, metadata)

        return call

    def unary_stream(self, path: str, *_more: Any, **_named: Any) -> Callable[..., Any]:
        def call(*_positional: Any, **_given: Any) -> Any:
            raise NotImplementedError(path)

        return call

    async def close(self) -> None:
        """There is nothing to close."""

"""Channels whose certificate is renewed while calls run: a new one takes the new calls, the old one ends its own.

A gRPC channel keeps the certificate that it was opened with (grpc/grpc#15735), so the channel itself is exchanged.
Streaming requests are left out: no RPC of ours has one.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

import grpc

from services.common.errors import BrickyardError
from services.common.logs import get_logger

_log = get_logger()
_Channel = TypeVar("_Channel")


class _Generation(Generic[_Channel]):
    """One channel, and how many calls it has."""

    def __init__(self, channel: _Channel, stamp: object) -> None:
        self.channel = channel
        self.stamp = stamp
        self.calls = 0
        self.methods: dict[tuple[str, str], Any] = {}

    def method(self, kind: str, path: str, options: dict[str, Any]) -> Any:
        """The callable of an RPC."""
        found = self.methods.get((kind, path))
        if found is None:
            found = self.methods[kind, path] = getattr(self.channel, kind)(path, **options)
        return found


class _Generations(Generic[_Channel]):
    """The current channel, and those before it that still have calls.

    Args:
        open_channel: Opens one with the files of this moment.
        stamp: Another value once the files are others.
        discard: Closes one that has no calls any more.
    """

    def __init__(
        self,
        open_channel: Callable[[], _Channel],
        stamp: Callable[[], object],
        discard: Callable[[_Channel], None],
    ) -> None:
        self._open = open_channel
        self._stamp = stamp
        self._discard = discard
        self._lock = threading.Lock()
        before = stamp()
        self._current = _Generation(open_channel(), before)
        self._old: list[_Generation[_Channel]] = []

    def enter(self) -> _Generation[_Channel]:
        """The channel for a call that begins; `leave` ends it."""
        idle = None
        with self._lock:
            stamp = self._stamp()
            if stamp != self._current.stamp:
                try:
                    fresh = _Generation(self._open(), stamp)
                except BrickyardError as error:
                    # The files are being written, or broken; the old ones work until they end.
                    _log.warning("channel.not_renewed", error=error.message)
                else:
                    if self._current.calls:
                        self._old.append(self._current)
                    else:
                        idle = self._current
                    self._current = fresh
            generation = self._current
            generation.calls += 1
        if idle is not None:
            self._discard(idle.channel)
        return generation

    def leave(self, generation: _Generation[_Channel]) -> None:
        """Ends a call; the last one of an old channel closes it."""
        with self._lock:
            generation.calls -= 1
            over = generation in self._old and not generation.calls
            if over:
                self._old.remove(generation)
        if over:
            self._discard(generation.channel)

    @property
    def current(self) -> _Channel:
        """The channel of the next call, unless the files have changed."""
        return self._current.channel

    def all(self) -> list[_Channel]:
        """All that are open."""
        with self._lock:
            return [self._current.channel, *(each.channel for each in self._old)]


class _UnaryCall:
    def __init__(self, generations: "_Generations[grpc.Channel]", path: str, options: dict[str, Any]) -> None:
        self._generations = generations
        self._path = path
        self._options = options

    @contextmanager
    def _method(self) -> Iterator[Any]:
        generation = self._generations.enter()
        try:
            yield generation.method("unary_unary", self._path, self._options)
        finally:
            self._generations.leave(generation)

    def __call__(self, request: Any, **given: Any) -> Any:
        """Calls and waits for the answer."""
        with self._method() as method:
            return method(request, **given)

    def with_call(self, request: Any, **given: Any) -> Any:
        """Calls and waits for the answer and the call."""
        with self._method() as method:
            return method.with_call(request, **given)

    def future(self, request: Any, **given: Any) -> Any:
        """Calls and does not wait."""
        generation = self._generations.enter()
        future = generation.method("unary_unary", self._path, self._options).future(request, **given)
        future.add_done_callback(lambda _: self._generations.leave(generation))
        return future


class _StreamCall:
    def __init__(self, generations: "_Generations[grpc.Channel]", path: str, options: dict[str, Any]) -> None:
        self._generations = generations
        self._path = path
        self._options = options

    def __call__(self, request: Any, **given: Any) -> Any:
        """Calls; the answers come one by one."""
        generation = self._generations.enter()
        answers = generation.method("unary_stream", self._path, self._options)(request, **given)
        if not answers.add_callback(lambda: self._generations.leave(generation)):
            self._generations.leave(generation)
        return answers


class LiveChannel(grpc.Channel):
    """A threaded channel that is exchanged under its users; see the module."""

    def __init__(self, open_channel: Callable[[], grpc.Channel], stamp: Callable[[], object]) -> None:
        self._generations = _Generations(open_channel, stamp, lambda channel: channel.close())

    def unary_unary(self, method: str, *positional: Any, **options: Any) -> Any:
        """A unary RPC; see grpc.Channel."""
        return _UnaryCall(self._generations, method, _named(positional, options))

    def unary_stream(self, method: str, *positional: Any, **options: Any) -> Any:
        """A server-streaming RPC; see grpc.Channel."""
        return _StreamCall(self._generations, method, _named(positional, options))

    def stream_unary(self, method: str, *_positional: Any, **_options: Any) -> Any:
        """Not offered; see the module."""
        raise NotImplementedError(method)

    def stream_stream(self, method: str, *_positional: Any, **_options: Any) -> Any:
        """Not offered; see the module."""
        raise NotImplementedError(method)

    def subscribe(self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        """Tells of the present channel's connectivity; see grpc.Channel."""
        self._generations.current.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Ends that; see grpc.Channel."""
        for channel in self._generations.all():
            channel.unsubscribe(callback)

    def close(self) -> None:
        """Closes all channels; running calls end."""
        for channel in self._generations.all():
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _AioCall:
    def __init__(
        self, generations: "_Generations[grpc.aio.Channel]", kind: str, path: str, options: dict[str, Any]
    ) -> None:
        self._generations = generations
        self._kind = kind
        self._path = path
        self._options = options

    def __call__(self, *request: Any, **given: Any) -> Any:
        """Calls; the result is to be awaited, or iterated over."""
        generation = self._generations.enter()
        call = generation.method(self._kind, self._path, self._options)(*request, **given)
        call.add_done_callback(lambda _: self._generations.leave(generation))
        return call


class LiveAioChannel(grpc.aio.Channel):
    """An asyncio channel that is exchanged under its users; see the module."""

    def __init__(self, open_channel: Callable[[], grpc.aio.Channel], stamp: Callable[[], object]) -> None:
        self._closing: set[asyncio.Task[None]] = set()
        self._generations = _Generations(open_channel, stamp, self._discard)

    def _discard(self, channel: grpc.aio.Channel) -> None:
        task = asyncio.get_running_loop().create_task(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def unary_unary(self, method: str, *positional: Any, **options: Any) -> Any:
        """A unary RPC; see grpc.aio.Channel."""
        return _AioCall(self._generations, "unary_unary", method, _named(positional, options))

    def unary_stream(self, method: str, *positional: Any, **options: Any) -> Any:
        """A server-streaming RPC; see grpc.aio.Channel."""
        return _AioCall(self._generations, "unary_stream", method, _named(positional, options))

    def stream_unary(self, method: str, *_positional: Any, **_options: Any) -> Any:
        """Not offered; see the module."""
        raise NotImplementedError(method)

    def stream_stream(self, method: str, *_positional: Any, **_options: Any) -> Any:
        """Not offered; see the module."""
        raise NotImplementedError(method)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the present channel; see grpc.aio.Channel."""
        return self._generations.current.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the present channel; see grpc.aio.Channel."""
        await self._generations.current.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the present channel is connected; see grpc.aio.Channel."""
        await self._generations.current.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Closes all channels; running calls get `grace` seconds."""
        for channel in self._generations.all():
            await channel.close(grace)
        if self._closing:
            await asyncio.wait(set(self._closing))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _named(positional: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The options of a method of a channel, however its caller gave them."""
    names = ("request_serializer", "response_deserializer")
    return {**dict(zip(names, positional, strict=False)), **options}

"""Several processes as one: started in order, ready together, ended together. Effects: processes, signals.

Whoever runs such a group answers SIGINT and SIGTERM by ending it, and ends it when one of its processes ends by itself.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

_READY_WITHIN_S = 30.0
# The gateway takes up to twice its grace of 10 s: for answers, then for operations.
_STOP_WITHIN_S = 25.0
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class ChildFailedError(Exception):
    """A process ended, or did not get ready; its own words are on stderr."""


@dataclass(slots=True)
class Child:
    """A process of the group.

    Attributes:
        name: For people.
        process: It.
        ready_line: What it printed when it was ready; empty until then.
    """

    name: str
    process: subprocess.Popen[str]
    ready_line: str = ""

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as its ready line tells."""
        return self.ready_line.split(" ready on ")[1].split()


def start(name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
    """Starts a Python module that prints a ready line.

    Args:
        name: For people.
        module: What to run.
        arguments: Its command line.
        environment: Variables besides this process's own.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    return Child(name, process)


def run(
    stages: Sequence[Iterable[Child]], announce: Callable[[Sequence[Child]], None], *, pass_on: Sequence[int] = ()
) -> int:
    """Runs a group until SIGINT or SIGTERM, or until a process ends by itself; returns the exit code.

    Args:
        stages: Each starts its processes as they are asked for, and begins when those before are ready: whoever finds
            nobody there waits before it looks again. The last process serves clients, and is ended first.
        announce: Called once all are ready.
        pass_on: Signals that the last process gets as they come.
    """
    started: list[Child] = []

    def request_stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    def pass_signal(number: int, _frame: object) -> None:
        if started and started[-1].ready_line:
            started[-1].process.send_signal(number)

    handlers = dict.fromkeys(_STOPPING, request_stop) | dict.fromkeys(pass_on, pass_signal)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        for children in stages:
            for child in children:
                started.append(child)  # noqa: PERF402 - each must be known before the next starts, to be stopped
            _await_ready([child for child in started if not child.ready_line])
        announce(started)
        _wait_for_end(started)
    except KeyboardInterrupt:
        return 0
    except ChildFailedError as error:
        print(f"brickyard: {error}", file=sys.stderr)  # noqa: T201 - a command line speaks
        return 1
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)
        _stop(started)
    return 0


def _await_ready(children: Sequence[Child]) -> None:
    """Waits for the ready line of every child.

    Raises:
        ChildFailedError: One ended first, or the time is up.
    """
    deadline = time.monotonic() + _READY_WITHIN_S
    with selectors.DefaultSelector() as selector:
        for child in children:
            assert child.process.stdout is not None  # noqa: S101 - opened with a pipe
            selector.register(child.process.stdout, selectors.EVENT_READ, child)
        while any(not child.ready_line for child in children):
            events = selector.select(timeout=max(0.0, deadline - time.monotonic()))
            if not events:
                waiting = ", ".join(child.name for child in children if not child.ready_line)
                raise ChildFailedError(f"{waiting} did not get ready within {_READY_WITHIN_S:.0f} s")
            for key, _ in events:
                _read_ready_line(selector, key.data)


def _read_ready_line(selector: selectors.BaseSelector, child: Child) -> None:
    assert child.process.stdout is not None  # noqa: S101 - opened with a pipe
    line = child.process.stdout.readline()
    if not line:
        raise ChildFailedError(f"{child.name} ended with exit code {child.process.wait()}; its reason is above")
    if " ready on " in line:
        child.ready_line = line.strip()
        selector.unregister(child.process.stdout)


def _wait_for_end(children: Sequence[Child]) -> None:
    """Waits until a child ends by itself, which none should.

    Raises:
        ChildFailedError: It did.
    """
    pid, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    for child in children:
        if child.process.pid == pid:
            child.process.returncode = code
            raise ChildFailedError(f"{child.name} ended with exit code {code}; its reason is above")
    raise ChildFailedError(f"process {pid} ended with exit code {code}")


def _stop(children: Sequence[Child]) -> None:
    """The last first, so that nobody calls what is already gone; each within its time."""
    for child in reversed(children):
        if child.process.poll() is None:
            child.process.send_signal(signal.SIGTERM)
            try:
                child.process.wait(timeout=_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

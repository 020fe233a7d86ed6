"""One stack for all tests, replaced when a test spoiled it; a machine that cannot run it is told so, loudly."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from compose.lab.errors import CannotRunHereError
from tests.e2e.system import System, clear_dead

_PASSED = pytest.StashKey[bool]()
_WHY_NOT = pytest.StashKey[str]()
_LEFT_OUT = pytest.StashKey[list[str]]()
_LONG = "BRICKYARD_E2E_LONG"


class Holder:
    """Boots the stack when the first test needs it."""

    def __init__(self) -> None:
        self._system: System | None = None
        self._cannot: CannotRunHereError | None = None

    def get(self) -> System:
        """The stack.

        Raises:
            CannotRunHereError: The lab cannot run on this machine; found out once.
        """
        if self._cannot is not None:
            raise self._cannot
        if self._system is None:
            try:
                self._system = System.up()
            except CannotRunHereError as error:
                self._cannot = error
                raise
        return self._system

    def discard(self) -> None:
        """Takes the stack down; the next test gets a new one."""
        if self._system is not None:
            system, self._system = self._system, None
            system.stack.close()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def holder() -> Iterator[Holder]:
    clear_dead()
    # Whoever ends the run with SIGTERM or by closing the terminal wants the nodes gone too.
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    found = Holder()
    try:
        yield found
    finally:
        # Nothing may stop the end.
        for number in (signal.SIGINT, *previous):
            previous.setdefault(number, signal.signal(number, signal.SIG_IGN))
        found.discard()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def skipped_where_it_cannot_run(request: pytest.FixtureRequest) -> Iterator[None]:
    try:
        yield
    except CannotRunHereError as error:
        request.config.stash[_WHY_NOT] = str(error)
        pytest.skip(f"the lab cannot run here: {error}")


@pytest.fixture
def system(request: pytest.FixtureRequest, holder: Holder) -> Iterator[System]:
    """The stack; the test has to leave it as it found it."""
    with skipped_where_it_cannot_run(request):
        found = holder.get()
    yield found
    if not request.node.stash.get(_PASSED, False):
        # Whatever it left says nothing new.
        holder.discard()
        return
    try:
        after, left = found.inspect()
        assert left == []
        assert after == found.pristine
    except BaseException:
        holder.discard()
        raise


@pytest.fixture
def lab_possible(request: pytest.FixtureRequest, holder: Holder) -> None:
    """For tests that boot a lab of their own."""
    with skipped_where_it_cannot_run(request):
        holder.get()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed  # type: ignore[attr-defined]  # a wrapper gets the report
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.lab)
    if os.environ.get(_LONG, "") != "1":
        long = [item for item in items if item.get_closest_marker("long") is not None]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
        config.stash[_LEFT_OUT] = [item.nodeid for item in long]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash.get(_LEFT_OUT, [])
    if left_out:
        terminalreporter.section("e2e: long tests")
        terminalreporter.line(f"not run without {_LONG}=1: {', '.join(left_out)}", yellow=True)
    why = config.stash.get(_WHY_NOT, "")
    if why:
        terminalreporter.section("e2e", sep="!", red=True, bold=True)
        terminalreporter.line(f"e2e: NOT RUN: {why}", red=True)

"""Looks at a node that take longer than a caller waits."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.common.errors import InternalError, TimeLimitError
from services.common.reasons import Reason
from services.executor.looks import Looks

WAIT_S = 20.0


class Eyes:
    """A look that ends when the test lets it: each `allow` is for one."""

    def __init__(self) -> None:
        self.now = 0.0
        self.began = threading.Semaphore(0)
        self._allowed = threading.Semaphore(0)
        self.count = 0
        self.error: Exception | None = None

    def look(self) -> int:
        self.count += 1
        number = self.count
        self.began.release()
        assert self._allowed.acquire(timeout=WAIT_S)
        if self.error is not None:
            raise self.error
        return number

    def allow(self) -> None:
        self._allowed.release()


@pytest.fixture
def eyes() -> Eyes:
    return Eyes()


@pytest.fixture
def looks(eyes: Eyes) -> Looks[int]:
    return Looks(eyes.look, clock=lambda: eyes.now)


def ended(looks: Looks[int], eyes: Eyes) -> tuple[int, float]:
    """The answer once the look that runs has ended."""
    eyes.allow()
    return looks.newest(wait_s=WAIT_S, max_age_s=60)


def late(call: Callable[[], object]) -> None:
    with pytest.raises(TimeLimitError, match="goes on") as caught:
        call()
    assert caught.value.reason is Reason.COMMAND_TIMED_OUT


def test_a_look_that_ends_in_time_is_the_answer(looks: Looks[int], eyes: Eyes) -> None:
    assert ended(looks, eyes) == (1, 0.0)
    assert ended(looks, eyes) == (2, 0.0)


def test_a_late_look_goes_on_and_the_next_caller_gets_it(looks: Looks[int], eyes: Eyes) -> None:
    late(lambda: looks.newest(wait_s=0, max_age_s=60))
    eyes.now = 12
    assert ended(looks, eyes) == (1, 12)
    assert eyes.count == 1
    # The one that runs now is late again: what was seen last does, as long as it is not too old.
    assert looks.newest(wait_s=0, max_age_s=60) == (1, 12)
    eyes.now = 60
    assert looks.newest(wait_s=0, max_age_s=60) == (1, 60)
    eyes.now = 60.5
    late(lambda: looks.newest(wait_s=0, max_age_s=60))
    assert ended(looks, eyes) == (2, 48.5)


def test_many_callers_share_one_look(looks: Looks[int], eyes: Eyes) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(looks.newest, wait_s=WAIT_S, max_age_s=60) for _ in range(8)]
        assert eyes.began.acquire(timeout=WAIT_S)
        # Those that come after its end look again.
        for _ in range(8):
            eyes.allow()
        seen = {call.result(WAIT_S)[0] for call in calls}
    assert seen == set(range(1, eyes.count + 1))


def test_a_look_that_fails_says_why_and_what_was_seen_before_stays(looks: Looks[int], eyes: Eyes) -> None:
    ended(looks, eyes)
    eyes.error = InternalError(Reason.LVM_FAILED, "no")
    with pytest.raises(InternalError, match="no"):
        ended(looks, eyes)
    # Of the same kind as a late look, and yet the look's own.
    eyes.error = TimeLimitError(Reason.COMMAND_TIMED_OUT, "lvm did not end")
    with pytest.raises(TimeLimitError, match="lvm did not end"):
        ended(looks, eyes)
    eyes.error = None
    assert looks.newest(wait_s=0, max_age_s=60) == (1, 0.0)
    eyes.allow()

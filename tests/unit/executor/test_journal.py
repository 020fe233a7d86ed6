"""A repeated change joins the running one, or gets the finished one's answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.common.errors import AbortedError, InternalError, InvalidArgumentError, TimeLimitError
from services.common.reasons import Reason
from services.executor.journal import Journal

WAIT_S = 10.0


class Work:
    """Counts its runs; waits for a sign if told so."""

    def __init__(self, *, waits: bool = False, fails: bool = False) -> None:
        self.runs = 0
        self.fails = fails
        self.started = threading.Event()
        self.proceed = threading.Event()
        if not waits:
            self.proceed.set()

    def __call__(self) -> bytes:
        self.runs += 1
        self.started.set()
        assert self.proceed.wait(WAIT_S)
        if self.fails:
            raise InternalError(Reason.LVM_FAILED, "no")
        return b"answer %d" % self.runs


def test_a_finished_change_is_not_done_again() -> None:
    journal, work = Journal(), Work()
    assert journal.run("r", "CreateBrick", b"x", work) == b"answer 1"
    assert journal.run("r", "CreateBrick", b"x", work) == b"answer 1"
    assert work.runs == 1


def test_answers_survive_the_agent(tmp_path: Path) -> None:
    path, work = tmp_path / "journal.sqlite3", Work()
    first = Journal(path)
    first.run("r", "CreateBrick", b"x", work)
    first.close()
    assert Journal(path).run("r", "CreateBrick", b"x", work) == b"answer 1"
    assert work.runs == 1


def test_a_failed_change_may_be_tried_again() -> None:
    journal, work = Journal(), Work(fails=True)
    with pytest.raises(InternalError):
        journal.run("r", "CreateBrick", b"x", work)
    work.fails = False
    assert journal.run("r", "CreateBrick", b"x", work) == b"answer 2"


@pytest.mark.parametrize(("method", "request_bytes"), [("CreateBrick", b"y"), ("DeleteBrick", b"x")])
def test_an_id_stands_for_one_request_only(method: str, request_bytes: bytes) -> None:
    journal = Journal()
    journal.run("r", "CreateBrick", b"x", Work())
    with pytest.raises(AbortedError) as caught:
        journal.run("r", method, request_bytes, Work())
    assert caught.value.reason is Reason.REQUEST_ID_REUSED


@pytest.mark.parametrize("request_id", ["", "x" * 129])
def test_ids_have_a_length(request_id: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Journal().run(request_id, "CreateBrick", b"x", Work())


@pytest.mark.parametrize("fails", [False, True])
def test_a_repeated_change_joins_the_running_one(fails: bool) -> None:
    journal, work = Journal(), Work(waits=True, fails=fails)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(journal.run, "r", "CreateBrick", b"x", work)
        assert work.started.wait(WAIT_S)
        second = pool.submit(journal.run, "r", "CreateBrick", b"x", work)
        with pytest.raises(TimeLimitError):
            journal.run("r", "CreateBrick", b"x", work, wait_s=0.01)
        with pytest.raises(AbortedError):
            journal.run("r", "CreateBrick", b"other", work)
        work.proceed.set()
        outcomes = [future.exception(WAIT_S) or future.result(WAIT_S) for future in (first, second)]
    if fails:
        assert [isinstance(outcome, InternalError) for outcome in outcomes] == [True, True]
    else:
        assert outcomes == [b"answer 1", b"answer 1"]


def test_answers_are_forgotten_after_a_week(tmp_path: Path) -> None:
    now = [0.0]
    journal, work = Journal(tmp_path / "j", clock=lambda: now[0]), Work()
    journal.run("old", "CreateBrick", b"x", work)
    now[0] = 8 * 24 * 3600.0
    for number in range(1001):
        journal.run(f"new{number}", "CreateBrick", b"x", Work())
    assert journal.run("old", "CreateBrick", b"x", work) == b"answer 2"

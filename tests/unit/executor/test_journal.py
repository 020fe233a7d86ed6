"""A repeated change joins the running one, or gets the finished one's answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.common.errors import (
    AbortedError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    TimeLimitError,
)
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


def too_late(journal: Journal, request_id: str, epoch: int) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        journal.run(request_id, "CreateBrick", b"x", Work(), epoch=epoch)
    assert caught.value.reason is Reason.LEASE_LOST


def test_a_change_of_an_epoch_that_is_over_is_refused() -> None:
    journal, work = Journal(), Work()
    journal.run("o/1", "CreateBrick", b"x", work, epoch=5)
    too_late(journal, "o/2", 4)
    journal.run("o/2", "CreateBrick", b"x", work, epoch=5)
    journal.run("o/3", "CreateBrick", b"x", work, epoch=6)
    too_late(journal, "o/4", 5)
    assert work.runs == 3


def test_the_answer_of_a_finished_change_is_for_the_present_epoch_only() -> None:
    journal = Journal()
    journal.run("o/1", "CreateBrick", b"x", Work(), epoch=1)
    journal.fence("o", 2)
    too_late(journal, "o/1", 1)
    assert journal.run("o/1", "CreateBrick", b"x", Work(), epoch=2) == b"answer 1"


def test_epochs_are_of_one_operation_and_for_those_who_know_of_them() -> None:
    journal, work = Journal(), Work()
    journal.fence("o", 7)
    assert journal.run("p/1", "CreateBrick", b"x", work, epoch=1) == b"answer 1"
    assert journal.run("o/1", "CreateBrick", b"x", work) == b"answer 2"


def test_fences_survive_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    first = Journal(path)
    first.fence("o", 3)
    first.close()
    second = Journal(path)
    too_late(second, "o/1", 2)
    with pytest.raises(FailedPreconditionError):
        second.fence("o", 2)


def test_a_fence_waits_for_what_runs_in_earlier_epochs() -> None:
    journal, work, later = Journal(), Work(waits=True), Work(waits=True)
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(journal.run, "o/1", "CreateBrick", b"x", work, epoch=1)
        assert work.started.wait(WAIT_S)
        with pytest.raises(TimeLimitError):
            journal.fence("o", 2, wait_s=0.01)
        # It was not awaited to its end, but nothing new comes in.
        too_late(journal, "o/2", 1)
        newer = pool.submit(journal.run, "o/3", "DeleteBrick", b"x", later, epoch=2)
        assert later.started.wait(WAIT_S)
        fence = pool.submit(journal.fence, "o", 2, wait_s=WAIT_S)
        work.proceed.set()
        fence.result(WAIT_S)
        assert running.result(WAIT_S) == b"answer 1"
        assert not newer.done()
        later.proceed.set()


def test_a_fence_does_not_mind_that_an_earlier_change_fails() -> None:
    journal, work = Journal(), Work(waits=True, fails=True)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(journal.run, "o/1", "CreateBrick", b"x", work, epoch=1)
        assert work.started.wait(WAIT_S)
        fence = pool.submit(journal.fence, "o", 2, wait_s=WAIT_S)
        work.proceed.set()
        fence.result(WAIT_S)
        assert isinstance(running.exception(WAIT_S), InternalError)


def test_a_running_change_that_a_later_epoch_joins_belongs_to_that_one() -> None:
    journal, work = Journal(), Work(waits=True)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(journal.run, "o/1", "CreateBrick", b"x", work, epoch=1)
        assert work.started.wait(WAIT_S)
        with pytest.raises(TimeLimitError):
            journal.run("o/1", "CreateBrick", b"x", work, epoch=2, wait_s=0.01)
        # Nothing of an epoch before 2 runs any more.
        journal.fence("o", 2, wait_s=0.01)
        work.proceed.set()
        assert first.result(WAIT_S) == b"answer 1"


def test_an_answer_with_a_secret_is_not_written_down(tmp_path: Path) -> None:
    path, work = tmp_path / "journal.sqlite3", Work()
    journal = Journal(path)
    assert journal.run("r", "CreateBlockVolume", b"x", work, keep=False) == b"answer 1"
    # The work has to find itself done.
    assert journal.run("r", "CreateBlockVolume", b"x", work, keep=False) == b"answer 2"
    journal.close()
    assert b"answer" not in path.read_bytes().replace(b"TABLE answer", b"").replace(b"answer BLOB", b"").replace(
        b"tableansweranswer", b""
    )

"""The cells of the matrix: kind x step x fault. Steps are found by running each kind. Effects: a rig."""

import os
import re
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from brickyard.topology.v1 import operation_pb2
from gateway.operations.kinds import KINDS
from services.common.ids import new_id
from tests.integration.faults.comparison import differences
from tests.integration.faults.gate import Armed
from tests.integration.faults.processes import Spawner
from tests.integration.faults.rig import NODE_TIMEOUT_S, Rig, RigError, has_ended, until
from tests.integration.faults.scenarios import SCENARIOS, Ask, Base, Scenario, make_base

FAULTS = ("error", "timeout", "kill-gateway", "kill-agent", "kill-topology")
ALLOCATOR_FAULT = "kill-allocator"
_PLANNING = "call Plan"
_ALL = os.environ.get("BRICKYARD_FAULTS_ALL", "") == "1"
_DONE = " done"
_SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
_UNDOING = operation_pb2.OPERATION_STATE_UNDOING
_ENDS_WITHIN_S = 20.0
_OF_TOPOLOGY = frozenset({"BeginOperation", "UpdateOperation", "CommitOperation", "AbortOperation"})


@dataclass(frozen=True, slots=True)
class Step:
    """The `nth` step with a label; of `total`.

    Attributes:
        label: See gate.label_of.
        nth: From 1.
        total: How many there are with this label.
        undo_of: The step whose failure brings the operation here; empty on the way forward.
        undo_nth: Its number.
    """

    label: str
    nth: int
    total: int
    undo_of: str = ""
    undo_nth: int = 0

    @property
    def name(self) -> str:
        """E.g. "create-brick-2" for a call, "create-brick-2.answer" before its answer, "gluster-volume-set"."""
        called = self.label.startswith("call ")
        words = self.label.removeprefix("call ").removesuffix(_DONE).removeprefix("lvm ")
        slug = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", words).lower().replace(" ", "-")
        number = f"-{self.nth}" if self.total > 1 else ""
        answer = ".answer" if called and self.label.endswith(_DONE) else ""
        return f"{'undo.' if self.undo_of else ''}{slug}{number}{answer}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One proof."""

    scenario: str
    step: Step
    fault: str

    @property
    def id(self) -> str:
        """E.g. "create-volume/create-brick-2/kill-agent"."""
        return f"{self.scenario}/{self.step.name}/{self.fault}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a cell.

    Attributes:
        id: The cell's.
        outcome: "finished" or "undone"; "refused" when nothing was begun; "kept" when a removal failed half way and the
            next one goes on with it; "FAILED" when the proof failed.
        seconds: From the fault to the end of the operation.
        took_s: The whole cell.
        problem: What was wrong; empty when nothing was.
    """

    id: str
    outcome: str
    seconds: float
    took_s: float
    problem: str = ""


def steps_of(trace: Sequence[str], *, undo_of: tuple[str, int] = ("", 0)) -> list[Step]:
    """The steps in the trace of a good run; with `undo_of` only those after that one.

    Each call is a step, and each of its commands; of what runs on several nodes side by side the middle one, or all
    calls with BRICKYARD_FAULTS_ALL=1.
    """
    totals, seen = Counter(trace), Counter[str]()
    steps: list[Step] = []
    behind = not undo_of[0]
    for label in trace:
        seen[label] += 1
        if behind and (seen[label] == (totals[label] + 1) // 2 or (_ALL and label.startswith("call "))):
            steps.append(Step(label, seen[label], totals[label], *undo_of))
        behind = behind or (label, seen[label]) == undo_of
    return steps


def last_change(trace: Sequence[str]) -> tuple[str, int] | None:
    """The last answer of an agent in a good run: its failure leaves the most to be taken back."""
    for label in reversed(trace):
        method = label.removeprefix("call ").removesuffix(_DONE)
        if label.startswith("call ") and label.endswith(_DONE) and method not in _OF_TOPOLOGY:
            known = method.startswith("Plan")
            return None if known else (label, Counter(trace)[label])
    return None


def faults_at(step: Step) -> Sequence[str]:
    """The faults that are tried at a step: all where something is asked for on the way forward.

    Where only an answer gets lost, and on the way back, fewer of them differ in what they do; BRICKYARD_FAULTS_ALL=1
    tries them all the same, which takes twice as long.
    """
    if _ALL or not (step.undo_of or step.label.endswith(_DONE)):
        return FAULTS
    if step.undo_of and step.label.endswith(_DONE):
        return ("kill-gateway",)
    return ("error", "kill-gateway")


def cells_of(scenario: str, steps: Sequence[Step]) -> Iterator[Cell]:
    """Every fault at every step that is tried there."""
    for step in steps:
        for fault in faults_at(step):
            yield Cell(scenario, step, fault)
        if step.label.startswith(_PLANNING):
            yield Cell(scenario, step, ALLOCATOR_FAULT)


class Bench:
    """A rig with its base cluster; a new one after a proof that failed."""

    def __init__(self, spawner: Spawner, directory: Path) -> None:
        self._spawner = spawner
        self._directory = directory
        self._base: Base | None = None

    def base(self) -> Base:
        """The cluster to work with."""
        if self._base is None:
            place = Path(tempfile.mkdtemp(prefix="rig-", dir=self._directory))
            rig = Rig(place, self._spawner)
            try:
                rig.start()
                self._base = make_base(rig)
            except RigError as error:
                raise RigError(f"{error}\n{rig.log_tail()}") from error
        return self._base

    def drop(self) -> None:
        """The next cell gets a new rig."""
        base, self._base = self._base, None
        if base is not None:
            base.rig.close()

    def record(self, name: str) -> list[Step]:
        """Runs one kind, and once more with its last change failing: all its steps, forward and back."""
        base, scenario = self.base(), SCENARIOS[name]
        trace = self._traced(base, scenario)
        steps = steps_of(trace)
        last = last_change(trace)
        if last is not None:
            back = self._traced(base, scenario, Armed(*last, "fail"))
            steps += steps_of(back, undo_of=last)
        return steps

    @staticmethod
    def _traced(base: Base, scenario: Scenario, *arms: Armed) -> list[str]:
        ask = scenario.prepare(base)
        base.rig.gate.begin(*arms)
        base.rig.change(ask.method, ask.path, ask.body, key=new_id())
        until(lambda: not base.rig.books().unfinished, "the end of the recorded run")
        trace = base.rig.gate.trace()
        base.rig.gate.begin()
        base.restore()
        left = base.rig.differences()
        if left:
            raise RigError(f"the recorded run left: {left}")
        return trace

    def prove(self, cell: Cell) -> Result:
        """Runs a cell; whatever goes wrong is its result."""
        started = time.monotonic()
        proof = None
        try:
            proof = Proof(self.base(), cell)
            proof.run()
            problem = ""
        except Exception as error:  # noqa: BLE001 - a cell's failure is its result
            told = str(error) if isinstance(error, (RigError, AssertionError)) else traceback.format_exc()
            log = self._base.rig.log_tail() if self._base is not None else ""
            problem = f"{told}\n{log}"
            self.drop()
        outcome = "FAILED" if problem else proof.outcome if proof is not None else ""
        seconds = proof.seconds if proof is not None else 0.0
        return Result(cell.id, outcome, round(seconds, 2), round(time.monotonic() - started, 2), problem)


class Proof:
    """One cell in the making."""

    def __init__(self, base: Base, cell: Cell) -> None:
        self.outcome = ""
        self.seconds = 0.0
        self._base = base
        self._rig = base.rig
        self._cell = cell
        self._scenario = SCENARIOS[cell.scenario]
        self._key = new_id()
        self._answer: httpx.Response | None = None

    def run(self) -> None:
        """Strikes, waits, checks. Raises AssertionError or RigError for what is wrong."""
        ask = self._scenario.prepare(self._base)
        step = self._cell.step
        action = "hold"
        if self._cell.fault == "error":
            action = "lose" if step.label.endswith(_DONE) else "fail"
        armed = Armed(step.label, step.nth, action)  # type: ignore[arg-type] # one of the literals
        arms = [Armed(step.undo_of, step.undo_nth, "fail")] if step.undo_of else []
        self._rig.gate.begin(armed, *arms)
        asking = threading.Thread(target=self._ask_first, args=(ask,), daemon=True)
        asking.start()
        self._await_struck(armed)
        struck = time.monotonic()
        self._strike(armed, asking)
        asking.join(_ENDS_WITHIN_S)
        first = self._accepted(ask)
        ended = until(self._ended, f"the end of the operation of {first}", seconds=_ENDS_WITHIN_S)
        assert ended is not None
        # What an operation leaves on a node that does not answer is cleaned up by another one that follows it.
        until(lambda: not self._rig.books().unfinished, "all operations to end", seconds=_ENDS_WITHIN_S)
        self.seconds = time.monotonic() - struck
        self._rig.gate.begin()
        finished = ended.state == _SUCCEEDED
        self.outcome = self.outcome or ("finished" if finished else "undone")
        self._check_end(ended)
        if finished or not self._scenario.removes:
            self._check_clean("after its end")
            self._rig.await_gateway()
            found = self._rig.examined()
            assert not found, "examined after its end: " + "; ".join(found)
        else:
            self._check_kept()
        self._check_repeated(ask, first, ended)
        self._check_again(ask, finished=finished)
        self._base.restore()
        self._check_clean("after all was removed again")

    def _ask_first(self, ask: Ask) -> None:
        try:
            with self._rig.new_client() as client:
                self._answer = self._rig.send(ask.method, ask.path, ask.body, key=self._key, client=client)
        except httpx.TransportError:
            # The gateway was killed before it answered.
            self._answer = None

    def _operation(self) -> operation_pb2.Operation | None:
        return self._rig.operation(request_id=self._key)

    def _ended(self) -> operation_pb2.Operation | None:
        found = self._operation()
        return found if has_ended(found) else None

    def _await_struck(self, armed: Armed) -> None:
        def struck_or_missed() -> bool:
            return armed.struck.wait(0.05) or has_ended(self._operation())

        until(struck_or_missed, f"the step {self._cell.step.name}", seconds=_ENDS_WITHIN_S)
        if not armed.struck.wait(0.05):
            raise RigError(f"the operation ended without this step: {self._rig.gate.trace()}")

    def _strike(self, armed: Armed, asking: threading.Thread) -> None:
        fault = self._cell.fault
        if fault == "timeout":
            self._outlast(asking)
        elif fault == "kill-gateway":
            self._rig.gateway.kill()
            self._rig.gateway.start()
            self._rig.await_gateway()
            if self._operation() is not None:
                until(self._taken_over, "another gateway to take over")
        elif fault != "error":
            service = {
                "kill-agent": self._rig.agents,
                "kill-topology": self._rig.topology,
                "kill-allocator": self._rig.allocator,
            }[fault]
            service.kill()
            armed.released.set()
            service.start()
        armed.released.set()

    def _taken_over(self) -> bool:
        found = self._operation()
        return found is not None and (found.attempt_count > 1 or has_ended(found))

    def _outlast(self, asking: threading.Thread) -> None:
        """Lets the step hang until whoever waits for it has given up."""
        asking.join(_ENDS_WITHIN_S)
        if not self._cell.step.undo_of:

            def given_up() -> bool:
                found = self._operation()
                return found is None or found.state == _UNDOING or has_ended(found)

            until(given_up, "the operation to be given up", seconds=_ENDS_WITHIN_S)
        # Whatever is tried instead shall meet the step that hangs.
        time.sleep(NODE_TIMEOUT_S * 1.2)

    def _accepted(self, ask: Ask) -> str:
        """Where the operation is followed; a client that was not answered, or was put off, asks again."""
        if self._answer is not None and self._answer.status_code == httpx.codes.ACCEPTED:
            return str(self._answer.headers["location"])
        self._rig.await_gateway()
        if self._answer is not None and self._operation() is None:
            self.outcome = "refused"
            # A record that comes after its refusal is taken back once its lease has run out.
            said = f"after {self._answer.status_code} {self._answer.text.strip()}"
            until(lambda: not self._rig.differences(), f"{said}: nothing to be left", seconds=_ENDS_WITHIN_S)

        deadline = time.monotonic() + _ENDS_WITHIN_S
        said = ""
        while time.monotonic() < deadline:
            try:
                answer = self._rig.send(ask.method, ask.path, ask.body, key=self._key)
            except httpx.TransportError as error:
                said = str(error)
            else:
                if answer.status_code == httpx.codes.ACCEPTED:
                    return str(answer.headers["location"])
                said = f"{answer.status_code} {answer.text.strip()}"
            # A client cannot be told when a refusal has lost its cause.
            time.sleep(0.1)
        raise RigError(f"the repeated request was not accepted: {said}")

    def _check_end(self, ended: operation_pb2.Operation) -> None:
        """Killed gateways: taken back or carried on, as the kind says."""
        step = self._cell.step
        on_nodes = not step.label.startswith("call ") or _method(step) not in _OF_TOPOLOGY
        forward = not step.undo_of and not step.label.startswith(_PLANNING)
        if self._cell.fault == "kill-gateway" and on_nodes and forward and ended.attempt_count > 1:
            carried_on = KINDS[self._scenario.kind].redo_after_crash
            assert (ended.state == _SUCCEEDED) == carried_on, f"{ended.state}: {ended.error.message}"

    def _check_kept(self) -> None:
        """What is to be removed may be half gone when that fails: it stays listed, and removing it again goes on."""
        books = self._rig.books()
        assert not books.violations, f"after its end: {books.violations}"
        assert not books.unfinished, "operations that have not ended"
        if differences(books, self._rig.fleet):
            self.outcome = "kept"

    def _check_clean(self, when: str) -> None:
        left = self._rig.differences()
        assert not left, f"{when}: " + "; ".join(left)

    def _check_repeated(self, ask: Ask, first: str, ended: operation_pb2.Operation) -> None:
        """The queue entry is readable, and a repeated request gives the first answer."""
        self._rig.await_gateway()
        for _ in range(2):
            entry = self._rig.send("GET", first)
            good = entry.status_code in {200, 204, 303} and "x-pending" not in entry.headers
            assert good == (ended.state == _SUCCEEDED), f"{first}: {entry.status_code} {entry.text.strip()}"
        repeated = self._rig.send(ask.method, ask.path, ask.body, key=self._key)
        assert repeated.status_code == httpx.codes.ACCEPTED, f"repeated: {repeated.status_code} {repeated.text}"
        assert repeated.headers["location"] == first, f"{repeated.headers['location']} instead of {first}"

    def _check_again(self, ask: Ask, *, finished: bool) -> None:
        """The same request, as a new one, works; what is done already cannot be done again."""
        answer = self._rig.change(ask.method, ask.path, ask.body, key=new_id())
        expected = self._scenario.after_finish if finished else self._scenario.after_undo
        assert answer.status_code in expected, f"again: {answer.status_code} {answer.text.strip()}"
        self._check_clean("after the same request once more")


def _method(step: Step) -> str:
    return step.label.removeprefix("call ").removesuffix(_DONE)

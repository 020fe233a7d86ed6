"""Several gateways, many clients, and one process after the other killed. Effects: a rig, threads."""

import random
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, zip_longest
from pathlib import Path

import httpx

from services.common.ids import new_id
from tests.integration.faults.gate import Armed
from tests.integration.faults.processes import Spawner
from tests.integration.faults.rig import Gateway, Rig, Service, Transactions, until
from tests.integration.faults.scenarios import Base, make_base

GATEWAYS = 3
CLIENTS = 8
IN_FLIGHT = 4
_TRANSACTION_S = 0.015
_REPEAT_WITHIN_S = 30.0
_VOLUME_MADE = re.compile(r"volume create: (\S+): success")
_FINAL = {200, 204, 303, 500}


@dataclass(slots=True)
class Report:
    """What came of it.

    Attributes:
        ended: Requests by kind and final status.
        operations: Operations that were begun.
        repeated: Requests that had to be sent again, for their gateway was gone.
        throttled: Answers with 429.
        kills: Processes killed, by role.
        refused_transactions: How often gluster said that another transaction was in progress.
        taken_over: Operations that a second gateway brought to their end.
        problems: What must not be.
    """

    ended: dict[str, int] = field(default_factory=dict)
    operations: int = 0
    repeated: int = 0
    throttled: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    refused_transactions: int = 0
    taken_over: int = 0
    problems: list[str] = field(default_factory=list)


class SeveralGateways:
    """One run."""

    def __init__(
        self, spawner: Spawner, directory: Path, *, seed: int, seconds: float, copies: int = 1, database: str = ""
    ) -> None:
        """With `copies` there are so many topologies and allocators, over this database, and they are killed too."""
        self._transactions = Transactions(_TRANSACTION_S)
        self._rig = Rig(
            Path(tempfile.mkdtemp(prefix="several-", dir=directory)),
            spawner,
            gateways=GATEWAYS,
            copies=copies,
            database=database,
            max_in_flight=IN_FLIGHT,
            transactions=self._transactions,
        )
        self._seed = seed
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._report = Report()
        self._ended: Counter[str] = Counter()
        self._locations: dict[str, str] = {}
        self._lock = threading.Lock()
        self._base: Base | None = None

    def run(self) -> Report:
        """Storm, calm, and the account."""
        rig = self._rig
        try:
            rig.start()
            self._base = make_base(rig)
            self._end = time.monotonic() + self._seconds
            threads = [threading.Thread(target=self._guarded, args=(number,)) for number in range(CLIENTS)]
            threads.append(threading.Thread(target=self._kill_in_turn))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(self._seconds + 4 * _REPEAT_WITHIN_S)
            until(lambda: not rig.books().unfinished, "all operations to end")
            self._check_commands()
            self._check_operations()
            self._check_clean("after the storm")
            self._check_slots()
            self._base.restore()
            self._check_clean("after all was removed")
        finally:
            rig.close()
        self._report.ended = dict(self._ended)
        self._report.refused_transactions = self._transactions.refused
        return self._report

    def _problem(self, text: str) -> None:
        with self._lock:
            self._report.problems.append(text)

    # --- clients ------------------------------------------------------------------------------------------------------

    def _guarded(self, number: int) -> None:
        try:
            _Client(self, self._rig, random.Random(self._seed * 1000 + number)).live(self._end)
        except Exception as error:  # noqa: BLE001 - a thread's failure must be told
            self._problem(f"client {number}: {error!r}")

    def note(self, what: str, key: str, location: str) -> None:
        """A request came to its end."""
        with self._lock:
            self._ended[what] += 1
            self._locations[key] = location

    def count(self, name: str) -> None:
        """One more of `name`."""
        with self._lock:
            setattr(self._report, name, getattr(self._report, name) + 1)

    problem = _problem

    @property
    def base(self) -> Base:
        """The cluster."""
        assert self._base is not None
        return self._base

    # --- fate ---------------------------------------------------------------------------------------------------------

    def _kill_in_turn(self) -> None:
        chance = random.Random(self._seed)
        rig = self._rig
        roles: dict[str, Sequence[Service]] = {"gateway": rig.gateways}
        if len(rig.topologies) > 1:
            roles |= {"topology": rig.topologies, "allocator": rig.allocators}
        turns = cycle(victims for victims in zip_longest(*roles.values()))
        kills: Counter[str] = Counter()
        while time.monotonic() < self._end:
            for role, victim in zip(roles, next(turns), strict=True):
                if victim is None:
                    continue
                time.sleep(chance.uniform(0.3, 0.9))
                victim.kill()
                kills[role] += 1
                time.sleep(chance.uniform(0.05, 0.6))
                victim.start()
        self._report.kills = dict(kills)

    # --- the account --------------------------------------------------------------------------------------------------

    def _check_commands(self) -> None:
        """No brick and no volume was made twice."""
        made: Counter[str] = Counter()
        for argv, said in self._transactions.done:
            if argv[:2] == ("lvm", "lvcreate"):
                made[f"LV {argv[-1]} {' '.join(word for word in argv if 'brick_' in word)}"] += 1
            if argv[0] == "mkfs.xfs":
                made[f"XFS on {argv[-1]}"] += 1
            for name in _VOLUME_MADE.findall(said):
                made[f"volume {name}"] += 1
        for what, times in made.items():
            if times > 1:
                self._problem(f"{what} was made {times} times")
        if not made:
            self._problem("nothing was made at all")

    def _check_operations(self) -> None:
        """One operation for each request, and its queue entry readable from every gateway."""
        for key, location in self._locations.items():
            found = self._rig.operation(request_id=key)
            if found is None or f"/queue/{found.id}" != location:
                self._problem(f"request {key} has {found.id if found else None} and was told {location}")
                continue
            self._report.operations += 1
            self._report.taken_over += found.attempt_count > 1
            if "Another transaction" in found.error.message:
                self._problem(f"operation {found.id} failed: {found.error.message}")
        for gateway in self._rig.gateways:
            with self._rig.new_client(gateway) as client:
                until(lambda at=client: _alive(at), "the gateway")  # type: ignore[misc]
                for location in self._locations.values():
                    answer = client.get(location)
                    if answer.status_code not in _FINAL or "x-pending" in answer.headers:
                        self._problem(f"{location}: {answer.status_code} {answer.text}")

    def _check_clean(self, when: str) -> None:
        for text in self._rig.differences():
            self._problem(f"{when}: {text}")

    def _check_slots(self) -> None:
        """As many as are allowed begin at once, one more is told to come later, and the slots come back."""
        rig = self._rig
        body = self.base.volume_body(1)
        gates = [Armed("call CreateVolume", nth, "hold") for nth in range(1, IN_FLIGHT + 1)]
        rig.gate.begin(*gates)
        begun = [rig.send("POST", "/volumes", body) for _ in range(IN_FLIGHT)]
        late = rig.send("POST", "/volumes", body)
        statuses = [answer.status_code for answer in (*begun, late)]
        if statuses != [202] * IN_FLIGHT + [429]:
            self._problem(f"slots: {statuses}")
        if not late.headers.get("retry-after", "").isdigit():
            self._problem(f"429 without Retry-After: {late.headers}")
        rig.gate.begin()
        for answer in begun:
            if answer.status_code == httpx.codes.ACCEPTED:
                rig.follow(answer.headers["location"])
        after = rig.change("POST", "/volumes", body)
        if after.status_code != httpx.codes.SEE_OTHER:
            self._problem(f"after the slots were free: {after.status_code} {after.text}")


def _alive(client: httpx.Client) -> bool:
    try:
        return client.get("/hello").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


class _Client:
    """One client, which asks whichever gateway answers."""

    def __init__(self, run: SeveralGateways, rig: Rig, chance: random.Random) -> None:
        self._run = run
        self._chance = chance
        self._clients: list[tuple[Gateway, httpx.Client]] = [(each, rig.new_client(each)) for each in rig.gateways]
        self._mine: list[str] = []

    def live(self, end: float) -> None:
        """Makes, grows and removes volumes until the time is over, then removes its own."""
        while time.monotonic() < end:
            choice = self._chance.random()
            if not self._mine or (choice < 0.4 and len(self._mine) < 3):
                self._change("POST", "/volumes", self._run.base.volume_body(1))
            elif choice < 0.6:
                self._change("POST", f"/volumes/{self._chance.choice(self._mine)}/expand", {"expand_size": 1})
            else:
                self._remove(self._chance.choice(self._mine))
        for volume in list(self._mine):
            self._remove(volume)
        for _, client in self._clients:
            client.close()

    def _remove(self, volume: str) -> None:
        answer = self._change("DELETE", f"/volumes/{volume}", None)
        if answer.status_code in {204, 404}:
            self._mine.remove(volume)

    def _change(self, method: str, path: str, body: object) -> httpx.Response:
        key = new_id()
        accepted = self._until(lambda client: client.request(method, path, json=body, headers={"Idempotency-Key": key}))
        if accepted.status_code != httpx.codes.ACCEPTED:
            if accepted.status_code != httpx.codes.NOT_FOUND:
                self._run.problem(f"{method} {path}: {accepted.status_code} {accepted.text.strip()}")
            return accepted
        location = accepted.headers["location"]
        again = self._until(lambda client: client.request(method, path, json=body, headers={"Idempotency-Key": key}))
        if again.headers.get("location") != location:
            self._run.problem(f"{method} {path} repeated: {again.status_code} {again.headers.get('location')}")
        deadline = time.monotonic() + _REPEAT_WITHIN_S
        while True:
            entry = self._until(lambda client: client.get(location))
            if "x-pending" not in entry.headers:
                break
            if time.monotonic() > deadline:
                self._run.problem(f"{location} has not ended")
                break
            time.sleep(0.02)
        if entry.status_code not in _FINAL:
            self._run.problem(f"{location}: {entry.status_code} {entry.text.strip()}")
        what = path.rpartition("/")[2] if method == "POST" else "volume"
        self._run.note(f"{method} {what} {entry.status_code}", key, location)
        if method == "POST" and path == "/volumes" and entry.status_code == httpx.codes.SEE_OTHER:
            self._mine.append(entry.headers["location"].rpartition("/")[2])
        return entry

    def _until(self, ask: Callable[[httpx.Client], httpx.Response]) -> httpx.Response:
        """Asks one gateway after the other until one answers, and has room."""
        deadline = time.monotonic() + _REPEAT_WITHIN_S
        said = ""
        while time.monotonic() < deadline:
            _, client = self._chance.choice(self._clients)
            try:
                answer = ask(client)
            except httpx.TransportError as error:
                said = repr(error)
                self._run.count("repeated")
                time.sleep(0.05)
                continue
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                self._run.count("throttled")
                if not answer.headers.get("retry-after", "").isdigit():
                    self._run.problem("429 without Retry-After")
            elif answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            said = f"{answer.status_code} {answer.text.strip()}"
            time.sleep(0.05)
        raise AssertionError(f"no gateway took it: {said}")

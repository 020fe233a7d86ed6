"""What Heketi's own client printed, replayed with ours against a stack of real processes."""

import json
import os
import re
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.heketi_cli.__main__ import run
from tests.contract.heketi.shapes import ID, canonical, compact, indented, pairs
from tests.integration.clients import KEYS, Rest
from tests.integration.stack import Stack

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "cli"
ABSENT = "0123456789abcdef0123456789abcdef"
_PLACEHOLDER = re.compile(r"<ID\d+>")
_MOUNT = re.compile(r"^(\s*)Mount: ([^:]+):(.*)$", re.MULTILINE)
_BACKUPS = re.compile(r"backup-volfile-servers=(\S+)")
_HOSTS = re.compile(r"^Hosts: \[(.*)\]$", re.MULTILINE)
# Facts of real nodes that Heketi's mock executor leaves out.
_UNRECORDED = re.compile(r"^(\s*(?:Physical Volume UUID|Known Paths|IQN):).*$", re.MULTILINE)
# Names and secrets of block volumes only are there, or are not.
_ACCESS = re.compile(r"^(Username|Password): .+$", re.MULTILINE)
_DEVICE_NAME = re.compile(r"/dev/vd[bc]\b")
# The order of these comes out of maps in Heketi.
_UNORDERED_LINE = re.compile(r"(Id:|\t\t\t\tId:)")


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted difference.

    Attributes:
        command: Pattern in the command line.
        reason: Why we differ.
        exit_code: The exit code instead; None = as recorded.
        stdout: Pattern of the whole stdout instead; None = as recorded.
        stderr: The same of stderr.
        nth: Which match, from 1; 0 = all.
        skip: Whether the command is not run at all: it speaks of an object that does not exist here.
    """

    command: str
    reason: str
    exit_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None
    nth: int = 0
    skip: bool = False


Choose = Callable[[Rest], str]
Hook = Callable[[Stack], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One recording.

    Attributes:
        name: File without its last two extensions.
        nodes: Nodes that exist before `before_command`; node N is in zone N modulo zones, plus 1.
        zones: See there.
        devices: Devices of each node.
        before_command: Number of the command.
        placed: Whether volumes are placed, so that which device holds what is a matter of choice.
        chosen: Live objects for recorded ids of the setup, by placeholder.
        hooks: What happens on the server before a command, by its number.
        accepted: Accepted differences.
    """

    name: str
    nodes: int = 0
    zones: int = 1
    devices: int = 0
    before_command: int = 0
    placed: bool = False
    chosen: Mapping[str, Choose] = field(default_factory=dict)
    hooks: Mapping[int, Hook] = field(default_factory=dict)
    accepted: tuple[Accepted, ...] = ()


def _nodes(rest: Rest) -> list[dict[str, Any]]:
    clusters = [rest.json(f"/clusters/{each}") for each in rest.json("/clusters")["clusters"]]
    return [rest.json(f"/nodes/{each}") for cluster in clusters for each in cluster["nodes"]]


def only_cluster(rest: Rest) -> str:
    (found,) = rest.json("/clusters")["clusters"]
    return str(found)


def first_node(rest: Rest) -> str:
    return str(next(node["id"] for node in _nodes(rest) if node["hostnames"]["manage"] == ["node0.example"]))


def device_of_first_node(rest: Rest) -> str:
    return next(str(node["devices"][0]["id"]) for node in _nodes(rest) if node["id"] == first_node(rest))


def first_disk(rest: Rest) -> str:
    devices = next(node["devices"] for node in _nodes(rest) if node["id"] == first_node(rest))
    return next(str(each["id"]) for each in devices if each["name"] == "/dev/sdb")


def _devices(rest: Rest) -> list[dict[str, Any]]:
    return [device for node in _nodes(rest) for device in node["devices"]]


def device_with_bricks(rest: Rest) -> str:
    return next(str(device["id"]) for device in _devices(rest) if device["bricks"])


def device_without_bricks(rest: Rest) -> str:
    return next(str(device["id"]) for device in _devices(rest) if not device["bricks"])


def back_to_normal(stack: Stack) -> None:
    """What Heketi's users do to end read-only mode."""
    os.kill(stack.gateway.pid, signal.SIGUSR2)


_MOVES = "Heketi's mock can not move a brick and fails with a text of its own (moves have their own tests)"
_SPLIT = "how a second hosting volume is split on nearly full disks is a choice of placement"
_HOSTING_VOLUME = (
    r"\tName: vol_\w{32}\n\tSize: 500\n\tId: \w{32}\n\tCluster Id: \w{32}\n\tMount: 10\.0\.0\.\d:vol_\w{32}\n"
    r"\tMount Options: backup-volfile-servers=[\d.,]{26}\n\tDurability Type: replicate\n\tReplica: 3\n"
    r"\tSnapshot: Disabled\n\n\t\tBricks:\n"
    r"(\t\t\tId: \w{32}\n\t\t\tPath: \S+\n\t\t\tSize \(GiB\): \d+\n\t\t\tNode: \w{32}\n\t\t\tDevice: \w{32}\n\n)+\n"
)
_TWO_HOSTING_VOLUMES = (
    r"\nCluster Id: \w{32}\n\n    File:  true\n    Block: true\n\n    Volumes:\n\n"
    rf"({_HOSTING_VOLUME}){{2}}\n    Nodes:\n\n(\tNode Id: \w{{32}}\n[^\0]+?(?=\tNode Id|\Z)){{4}}"
)
_TWO_HOSTING_VOLUMES_JSON = (
    r'\{"clusters":\[\{"volumes":\[(\{"size":500,"name":"vol_.+?"bricks":\[.+?\]\},?){2}\],'
    r'"nodes":\[(\{"zone":.+?"devices":\[(\{.+?"bricks":\[.+?\]\},?){2}\]\},?){4}\],.+'
)
_WHY_NO_SPACE = "Heketi's text comes first; further lines explain why there is no space"

SCENARIOS = (
    Scenario("01-cluster"),
    Scenario("02-cluster-setflags"),
    Scenario("03-node"),
    Scenario(
        "04-device",
        nodes=2,
        zones=2,
        chosen={"<ID1>": first_node, "<ID2>": only_cluster, "<ID3>": first_disk},
        accepted=(
            Accepted(
                r"device add --name=/dev/sdb",
                "a disk can not be a device twice; Heketi's mock lets it, only a real pvcreate refuses",
                exit_code=255,
                stdout="",
                stderr=r"(?s)Error: Initializing device /dev/sdb failed \(already initialized .+",
                nth=2,
            ),
            Accepted(r"node info", "the second /dev/sdb is not there", stdout=r"(?s).*/dev/sdc.*"),
            Accepted(r"--force-forget", "the second /dev/sdb is not there", skip=True),
        ),
    ),
    Scenario("05-volume-create", nodes=6, zones=3, devices=2, placed=True),
    Scenario(
        "07-volume-errors",
        nodes=3,
        zones=2,
        devices=1,
        before_command=1,
        placed=True,
        accepted=(
            Accepted(
                r"--size=(100000|600)\b|--size=10 --durability=disperse( --json)?$",
                _WHY_NO_SPACE,
                stderr=r"(?s)Error: Failed to allocate new volume: No space\n.+",
            ),
        ),
    ),
    Scenario("09-volume-clone-endpoint", nodes=3, zones=2, devices=2, placed=True),
    Scenario(
        "10-blockvolume",
        nodes=4,
        zones=2,
        devices=2,
        placed=True,
        accepted=(Accepted(r"topology info", _SPLIT, stdout=f"{_TWO_HOSTING_VOLUMES}|{_TWO_HOSTING_VOLUMES_JSON}"),),
    ),
    Scenario("12-topology", placed=True),
    Scenario(
        "13-device-state",
        nodes=4,
        zones=2,
        devices=2,
        placed=True,
        # The recorded device with bricks as text; the one without as text and as JSON.
        chosen={"<ID3>": device_with_bricks, "<ID6>": device_without_bricks, "<ID13>": device_without_bricks},
        accepted=(
            Accepted(r"device remove <ID[34]>( --json)?$", _MOVES, nth=2, skip=True),
            Accepted(r"--expert-option-disable-heal-check", _MOVES, skip=True),
            Accepted(r"brick evict <ID[34]>( --json)?$", _MOVES, skip=True),
        ),
    ),
    Scenario(
        "16-server",
        nodes=3,
        zones=2,
        devices=1,
        placed=True,
        hooks={16: back_to_normal},
        accepted=(
            Accepted(
                r"loglevel get", "the recorded server was started with the level warning", stdout=r"[a-z]+\n", nth=1
            ),
            Accepted(
                r"examine",
                "what Heketi's mock sees on its nodes is made up; ours has LVM and mounts behind it",
                stdout=r'(?s)\{\n    "heketidb": \{\n        "clusterentries": .*"report": \[.*"clusters": \[.*'
                r'"NodesData": \[.*"VolumeInfo": .*"LVMPVInfo": .*"LVMVGInfo": .*'
                r'"LVMLVInfo": .*"BricksMountStatus": .*\}\n+',
            ),
        ),
    ),
    Scenario("15-tags", nodes=2, zones=2, devices=1, chosen={"<ID1>": first_node, "<ID3>": device_of_first_node}),
    Scenario(
        "17-db",
        nodes=3,
        zones=2,
        devices=1,
        before_command=2,
        placed=True,
        accepted=(
            Accepted(
                r"blockvolume create",
                _WHY_NO_SPACE,
                stderr=r"(?s)Error: Failed to allocate new block volume: No space\n.+",
            ),
        ),
    ),
    Scenario(
        "18-auth",
        accepted=(Accepted(r"--version", "it is our version", stdout=r"heketi-cli \d+\.\d+\.\d+\n"),),
    ),
)
RECORDINGS = [(scenario, form) for scenario in SCENARIOS for form in ("json", "text")]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One run of Heketi's client."""

    line: str
    exit_code: int
    stdout: str
    stderr: str
    comments: tuple[str, ...]


def read(name: str) -> Iterator[Recorded]:
    """The commands of one recording."""
    comments: list[str] = []
    text = (GOLDEN / f"{name}.txt").read_text()
    for block in text.split("\n---\n" if not text.startswith("---") else "---\n"):
        lines = block.split("\n")
        while lines and lines[0].startswith("# "):
            comments.append(lines.pop(0))
        if not lines or not lines[0]:
            continue
        match = re.fullmatch(
            r"\$ (.*?)\n\[exit (\d+)\]\n--- stdout\n(.*?)--- stderr(?:\n(.*))?", "\n".join(lines), re.DOTALL
        )
        assert match is not None, block
        stderr = f"{match[4]}\n" if match[4] else ""
        yield Recorded(match[1], int(match[2]), match[3], stderr, tuple(comments))
        comments = []


class Replay:
    """One replay of one recording."""

    def __init__(self, stack: Stack, scenario: Scenario, directory: Path) -> None:
        self.stack = stack
        self.scenario = scenario
        self.directory = directory
        self.rest = Rest(stack.gateway.addresses[0], KEYS["admin"])
        self.bound: dict[str, str] = {}
        self.used: dict[Accepted, int] = {}

    def run(
        self, recording: Sequence[Recorded], capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        for number, recorded in enumerate(recording):
            if self.scenario.nodes and number == self.scenario.before_command:
                self._set_up()
            if number in self.scenario.hooks:
                self.scenario.hooks[number](self.stack)
            self._write_files(recorded.comments)
            accepted = self._accepted(recorded.line)
            if accepted is not None and accepted.skip:
                continue
            code, out, err = self._run(recorded, capture, patch)
            told = f"$ {recorded.line}\n[exit {code}]\n{out}\n--- stderr\n{err}"
            assert code == (
                recorded.exit_code if accepted is None or accepted.exit_code is None else accepted.exit_code
            ), told
            self._compare(recorded.stdout, out, accepted.stdout if accepted else None, told)
            self._compare(recorded.stderr, err, accepted.stderr if accepted else None, told)
        unused = [each.reason for each in self.scenario.accepted if each not in self.used]
        assert not unused, f"accepted differences that nothing matched: {unused}"

    def _accepted(self, line: str) -> Accepted | None:
        found = None
        for each in self.scenario.accepted:
            if re.search(each.command, line):
                self.used[each] = self.used.get(each, 0) + 1
                if each.nth in {0, self.used[each]}:
                    found = each
        return found

    def _set_up(self) -> None:
        cluster = self.rest.made("/clusters", {"file": True, "block": True})["id"]
        for number in range(self.scenario.nodes):
            hostnames = {"manage": [f"node{number}.example"], "storage": [f"10.0.0.{number + 1}"]}
            zone = number % self.scenario.zones + 1
            node = self.rest.made("/nodes", {"zone": zone, "hostnames": hostnames, "cluster": cluster})
            for letter in "bcdefgh"[: self.scenario.devices]:
                self.rest.made("/devices", {"name": f"/dev/vd{letter}", "node": node["id"]})

    def _write_files(self, comments: Sequence[str]) -> None:
        for comment in comments:
            match = re.fullmatch(r"# (\S+\.json): (.*)", comment)
            if match:
                (self.directory / match[1]).write_text(match[2])

    def _here(self, text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: self._live(match[0]), text)

    def _live(self, placeholder: str) -> str:
        if placeholder not in self.bound:
            choose = self.scenario.chosen.get(placeholder)
            self.bound[placeholder] = choose(self.rest) if choose else ABSENT
        return self.bound[placeholder]

    def _run(
        self, recorded: Recorded, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> tuple[int, str, str]:
        environment = {"HEKETI_CLI_SERVER": self.rest.url, "HEKETI_CLI_USER": "admin", "HEKETI_CLI_KEY": KEYS["admin"]}
        if "# no server there" in recorded.comments:
            environment["HEKETI_CLI_SERVER"] = "http://127.0.0.1:1"
        words = shlex.split(self._here(recorded.line))
        keys = {"My Secret": KEYS["admin"], "My User Secret": KEYS["user"]}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            environment[name] = keys.get(value, value)
        with patch.context() as patched:
            patched.chdir(self.directory)
            for name, value in environment.items():
                patched.setenv(name, value)
            capture.readouterr()
            code = run(words[1:])
            shown = capture.readouterr()
        return code, shown.out, shown.err

    # --- comparing ----------------------------------------------------------------------------------------------------

    def _compare(self, recorded: str, live: str, instead: str | None, told: str) -> None:
        if instead is not None:
            assert re.fullmatch(instead, live), f"expected {instead!r}\n{told}"
            return
        if recorded.startswith("{\n    "):
            self._compare_json(recorded, live, told, written=lambda value: f"{indented(value)}\n")
            return
        if recorded.startswith("{") and not recorded.startswith(('{"subsets', "{\n")):
            self._compare_json(recorded, live, told)
            return
        one, other = self._canonical(recorded), self._canonical(live)
        masked = [[ID.sub("<id>", line) for line in lines] for lines in (one, other)]
        assert masked[0] == masked[1], f"expected\n{recorded}\n{told}"
        for expected, found in zip(one, other, strict=True):
            self._bind(expected, found)

    def _canonical(self, text: str) -> list[str]:
        """The lines with what may differ taken out; ids, and what stands for them, stay."""
        text = _ACCESS.sub(r"\1: <set>", _UNRECORDED.sub(r"\1", self._stand_in(text)))
        if self.scenario.placed:
            text = _DEVICE_NAME.sub("/dev/vdX", text)
        text = _MOUNT.sub(r"\1Mount: <host>:\3", text)
        text = _BACKUPS.sub("backup-volfile-servers=<hosts>", text)
        text = _HOSTS.sub(lambda match: f"Hosts: {len(match[1].split())}", text)
        text = re.sub(r"glusterfs-[0-9a-f]{8}", "glusterfs-<id>", text)
        text = re.sub(r'"ip":"[^"]+"', '"ip":"<host>"', text)
        return list(_sorted_groups(text.split("\n")))

    def _stand_in(self, text: str) -> str:
        """The text with an id for each placeholder, known or made up, so that both sides look alike."""
        return _PLACEHOLDER.sub(lambda match: self.bound.get(match[0], _made_up(match[0])), text)

    def _bind(self, expected: str, found: str) -> None:
        for one, other in zip(ID.findall(expected), ID.findall(found), strict=True):
            placeholder = _placeholder(one)
            if placeholder:
                self.bound.setdefault(placeholder, other)

    def _compare_json(self, recorded: str, live: str, told: str, *, written: Callable[[Any], str] = compact) -> None:
        one, other = json.loads(self._stand_in(recorded)), json.loads(live)
        assert live == written(other), told
        shapes = [
            compact(
                canonical(each, device_names=not self.scenario.placed, sizes=True, keys=frozenset({"paths", "pv_uuid"}))
            )
            for each in (one, other)
        ]
        assert shapes[0] == shapes[1], f"expected\n{shapes[0]}\n{shapes[1]}\n{told}"
        for first, second in pairs(one, other):
            self._bind(first, second)


def _made_up(placeholder: str) -> str:
    return f"{int(placeholder[3:-1]):04x}" + "5eed" * 7


def _placeholder(made_up: str) -> str:
    return f"<ID{int(made_up[:4], 16)}>" if made_up.endswith("5eed" * 7) else ""


def _sorted_groups(lines: Sequence[str]) -> Iterator[str]:
    """Consecutive lines that list objects, in an order that does not depend on ids; parts of a topology likewise."""
    text = "\n".join(lines)
    if "\n\tNode Id: " in text:
        head, *nodes = re.split(r"(?m)^(?=\tNode Id: )", text)
        shown = sorted(("".join(_sorted_devices(node)) for node in nodes), key=_mask)
        yield from (head + "".join(shown)).split("\n")
        return
    group: list[str] = []
    for line in [*lines, ""]:
        if _UNORDERED_LINE.match(line):
            group.append(line)
            continue
        yield from sorted(group, key=_mask)
        group = []
        yield line


def _sorted_devices(node: str) -> list[str]:
    head, *devices = re.split(r"(?m)^(?=\t\tId:)", node.rstrip("\n"))
    return [head, *sorted((f"{each.rstrip()}\n" for each in devices), key=_mask)]


def _mask(text: str) -> str:
    return ID.sub("<id>", text)


@pytest.mark.parametrize(("scenario", "form"), RECORDINGS, ids=[f"{each.name}.{form}" for each, form in RECORDINGS])
def test_recording(  # noqa: PLR0917 - a test takes its fixtures as arguments
    empty_stack: Stack,
    scenario: Scenario,
    form: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording = list(read(f"{scenario.name}.{form}"))
    assert len(recording) > 1
    (tmp_path / "broken.json").write_text("{broken")
    (tmp_path / "empty.json").write_text("{}")
    # The warning's ten seconds are for people.
    monkeypatch.setattr("gateway.cli.heketi_cli.members.time.sleep", lambda _seconds: None)
    Replay(empty_stack, scenario, tmp_path).run(recording, capsys, monkeypatch)

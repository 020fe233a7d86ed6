"""The SSH runner and the bridge against a real sshd: the same answers as the local runner gives."""

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.common.errors import FailedPreconditionError, TimeLimitError, UnavailableError
from services.common.metrics import REGISTRY
from services.common.reasons import Reason
from services.common.ssh import SshSession
from services.common.ssh_connection import SshTarget
from services.executor.bridge import Bridge, BridgeSettings
from services.executor.runners.base import CURRENT_SCOPE, CallScope, CommandFailedError, Mount, NodeLostError
from services.executor.runners.local import LocalRunner
from services.executor.runners.ssh import SshRunner
from tests.integration.sshd import HOST, Sshd, running_sshd, why_not
from tests.integration.stack import wait_until

LIMIT_S = 20.0
pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
# Everything that a shell could take for its own.
AWKWARD = "a b'c\"d$HOME`id`;&|<>*?\\\n-e"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def session(sshd: Sshd) -> Iterator[SshSession]:
    found = SshSession(sshd.target(), [sshd.known_hosts])
    yield found
    found.close()


@pytest.fixture
def runner(session: SshSession) -> SshRunner:
    return SshRunner(session)


def test_a_command_gets_its_words_and_a_plain_environment(runner: SshRunner) -> None:
    result = runner.run(["printf", "%s", AWKWARD], timeout_s=LIMIT_S)
    assert (result.stdout, result.exit_code) == (AWKWARD, 0)
    names = {line.partition("=")[0] for line in runner.run(["env"], timeout_s=LIMIT_S).stdout.splitlines()}
    # The last one comes from the node's own settings.
    assert names == {"LC_ALL", "PATH", "HOME", "LVM_SUPPRESS_FD_WARNINGS", "PYTHON", "DM_DISABLE_UDEV"}
    assert runner.run(["cat"], input="ä\nb\n", timeout_s=LIMIT_S).stdout == "ä\nb\n"
    assert runner.hostname() == LocalRunner().hostname()


def test_failures_are_those_of_the_local_runner(runner: SshRunner) -> None:
    with pytest.raises(CommandFailedError) as caught:
        runner.run(["sh", "-c", "echo why >&2; exit 5"], timeout_s=LIMIT_S)
    assert (caught.value.result.exit_code, caught.value.result.complaint) == (5, "why")
    assert runner.run(["false"], timeout_s=LIMIT_S, allowed_exit_codes=(0, 1)).exit_code == 1
    with pytest.raises(UnavailableError, match="no-such-program is not installed on"):
        runner.run(["no-such-program"], timeout_s=LIMIT_S)
    assert runner.run(["sh", "-c", "kill -9 $$"], timeout_s=LIMIT_S, allowed_exit_codes=None).exit_code == -9


def test_a_command_is_ended_on_the_node_at_its_limit(runner: SshRunner, tmp_path: Path) -> None:
    mark = tmp_path / "pid"

    def measured() -> float:
        labels = {"command": "sh", "outcome": "timed_out"}
        return REGISTRY.get_sample_value("brickyard_command_seconds_count", labels) or 0.0

    before = measured()
    with pytest.raises(TimeLimitError) as caught:
        runner.run(["sh", "-c", 'echo $$ >"$1"; sleep 60; true', "sh", str(mark)], timeout_s=0.5)
    assert caught.value.reason is Reason.COMMAND_TIMED_OUT
    assert measured() == before + 1
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


def test_a_read_ends_with_its_caller(runner: SshRunner, tmp_path: Path) -> None:
    scope, mark, codes = CallScope(), tmp_path / "pid", []

    def read() -> None:
        CURRENT_SCOPE.set(scope)
        script = 'echo $$ >"$1"; exec sleep 60'
        codes.append(runner.run(["sh", "-c", script, "sh", str(mark)], timeout_s=90, allowed_exit_codes=None).exit_code)

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: mark.exists() and mark.read_text(), "the command")
    scope.close()
    thread.join(LIMIT_S)
    assert codes == [-15]
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


def test_a_broken_connection_is_a_lost_node_and_the_next_command_connects_again(
    runner: SshRunner, sshd: Sshd, tmp_path: Path
) -> None:
    mark, errors = tmp_path / "begun", []

    def change() -> None:
        try:
            runner.run(["sh", "-c", 'echo >"$1"; sleep 3', "sh", str(mark)], timeout_s=90)
        except NodeLostError as error:
            errors.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    wait_until(mark.exists, "the command")
    sshd.cut()
    thread.join(LIMIT_S)
    assert len(errors) == 1
    assert runner.run(["echo", "again"], timeout_s=LIMIT_S).stdout == "again\n"
    # And one that broke while nobody used it.
    sshd.cut()
    assert runner.exists("/")


def test_many_commands_share_one_connection(runner: SshRunner, sshd: Sshd) -> None:
    runner.run(["true"], timeout_s=LIMIT_S)
    before = len(sshd.connections())
    results: list[str] = []

    def work(number: int) -> None:
        results.append(runner.run(["sh", "-c", f"sleep 0.1; echo {number}"], timeout_s=LIMIT_S).stdout.strip())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert sorted(map(int, results)) == list(range(24))
    assert len(sshd.connections()) == before


def test_files_and_directories(runner: SshRunner, tmp_path: Path) -> None:
    local, name = LocalRunner(), "odd 'name'"
    file = tmp_path / name / "fstab"
    assert runner.read_text(str(file)) is None
    runner.write_text_atomically(str(file), "eins\nzwei ä")
    file.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(file)
    runner.write_text_atomically(str(link), "drei\n")
    assert (link.is_symlink(), file.read_text(), file.stat().st_mode & 0o777) == (True, "drei\n", 0o640)
    assert runner.read_text(str(link)) == "drei\n"
    assert runner.list_directory(str(tmp_path)) == local.list_directory(str(tmp_path)) == (name,)
    assert runner.list_directory(str(tmp_path / "absent")) == ()
    assert [entry.name for entry in file.parent.iterdir()] == ["fstab"]
    with pytest.raises(OSError, match="not empty") as caught:
        runner.remove_directory(str(file.parent))
    assert caught.value.errno == errno.ENOTEMPTY
    deep = tmp_path / "a" / "b"
    runner.make_directory(str(deep))
    runner.sync_directory(str(deep))
    with pytest.raises(FileNotFoundError):
        runner.sync_directory(str(deep / "absent"))
    runner.set_mode(str(deep), 0o2770)
    runner.set_group(str(deep), 4711)
    assert (deep.stat().st_mode & 0o7777, deep.stat().st_gid) == (0o2770, 4711)
    runner.remove_directory(str(deep))
    runner.remove_directory(str(deep))
    assert not runner.exists(str(deep))
    dangling = tmp_path / "dangling"
    dangling.symlink_to("/nowhere")
    assert runner.exists(str(dangling))
    assert runner.resolve(str(link)) == str(file)


def test_what_the_kernel_tells(runner: SshRunner, tmp_path: Path) -> None:
    local = LocalRunner()
    assert runner.block_devices() == local.block_devices()
    assert {entry.mount_point for entry in local.mounts()} <= {entry.mount_point for entry in runner.mounts()}
    assert runner.device_links("/dev/null") == local.device_links("/dev/null")
    assert (runner.is_block_device("/dev/null"), runner.is_block_device("/nowhere")) == (False, False)
    assert runner.glusterd_listens() == local.glusterd_listens()
    assert runner.glusterd_answers("127.0.0.1") == local.glusterd_answers("127.0.0.1")
    assert runner.served_bricks(["/nowhere/brick"]) == frozenset()
    assert runner.end_brick_process("/nowhere/brick") == 0
    index = tmp_path / ".glusterfs" / "indices" / "xattrop"
    assert runner.count_heals(str(tmp_path)) == -1
    index.mkdir(parents=True)
    for name in ("xattrop-base", "one", "two"):
        (index / name).touch()
    assert runner.count_heals(str(tmp_path)) == local.count_heals(str(tmp_path)) == 2


def test_mounting_tells_what_the_kernel_said(runner: SshRunner, tmp_path: Path) -> None:
    point = tmp_path / "point"
    point.mkdir()
    runner.mount(Mount("none", str(point), "tmpfs", "rw,noatime"))
    try:
        assert any(entry.mount_point == str(point) for entry in runner.mounts())
        with (point / "held").open("w"), pytest.raises(OSError, match="busy") as caught:
            runner.unmount(str(point))
        assert caught.value.errno == errno.EBUSY
    finally:
        runner.unmount(str(point))
    with pytest.raises(OSError, match="not mounted") as caught:
        runner.unmount(str(point))
    assert caught.value.errno == errno.EINVAL


def test_with_sudo_everything_goes_through_it(sshd: Sshd, tmp_path: Path) -> None:
    session = SshSession(sshd.target(sudo=True), [sshd.known_hosts])
    runner = SshRunner(session)
    assert runner.run(["printf", "%s", AWKWARD], timeout_s=LIMIT_S).stdout == AWKWARD
    runner.write_text_atomically(str(tmp_path / "file"), "text\n")
    assert runner.read_text(str(tmp_path / "file")) == "text\n"
    # One for each command, one for the shell of the file operations.
    assert len((sshd.directory / "sudo.log").read_text().splitlines()) >= 3
    session.close()
    refusing = sshd.directory / "no-sudo"
    refusing.touch()
    try:
        for ask in (lambda: runner.run(["true"], timeout_s=LIMIT_S), lambda: runner.exists("/")):
            with pytest.raises(UnavailableError, match="sudo: a password is required") as caught:
                ask()
            assert caught.value.reason is Reason.AGENT_UNREACHABLE
    finally:
        refusing.unlink()
        session.close()


# --- host keys --------------------------------------------------------------------------------------------------------


def test_a_host_key_that_is_not_pinned_is_refused(sshd: Sshd) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        SshSession(sshd.target()).connect()
    assert caught.value.reason is Reason.HOST_KEY_UNKNOWN
    assert sshd.fingerprint() in caught.value.message


def test_another_host_key_than_the_pinned_one_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    words = (sshd.directory / "key.pub").read_text().split()
    forged = tmp_path / "known_hosts"
    forged.write_text(f"[{HOST}]:{sshd.port} {words[0]} {words[1]}\n")
    with pytest.raises(UnavailableError, match="not the pinned one") as caught:
        SshSession(sshd.target(), [forged]).connect()
    assert sshd.fingerprint() in caught.value.message


def test_no_login_and_no_sshd_are_told_apart(sshd: Sshd) -> None:
    with pytest.raises(UnavailableError, match="Authentication"):
        SshSession(
            SshTarget(host=HOST, port=sshd.port, user="nobody", keyfile=sshd.directory / "host_key"), [sshd.known_hosts]
        ).connect()
    with pytest.raises(UnavailableError, match="refused"):
        SshSession(SshTarget(host=HOST, port=1), [sshd.known_hosts]).connect()


# --- the bridge -------------------------------------------------------------------------------------------------------


@contextmanager
def bridge_to(sshd: Sshd, directory: Path, *, known_hosts: Path | None = None) -> Iterator[Bridge]:
    settings = BridgeSettings(
        keyfile=sshd.keyfile,
        port=sshd.port,
        user="root",
        known_hosts=[known_hosts or sshd.known_hosts],
        agent_mark=str(directory / "mark"),
    )
    bridge = Bridge(settings, directory / "state")
    yield bridge
    bridge.close()


def test_a_node_that_gets_an_agent_is_left_to_it(sshd: Sshd, tmp_path: Path) -> None:
    with bridge_to(sshd, tmp_path) as bridge:
        node = bridge.lookup(HOST)
        assert bridge.lookup(HOST) is node
        assert node.journal.run("a/1", "Change", b"", lambda: b"done") == b"done"
        (tmp_path / "mark").mkdir()
        with pytest.raises(FailedPreconditionError) as caught:
            node.journal.run("a/2", "Change", b"", lambda: b"done")
        assert caught.value.reason is Reason.NODE_HAS_AGENT
    with bridge_to(sshd, tmp_path) as bridge, pytest.raises(FailedPreconditionError, match="has an agent"):
        bridge.lookup(HOST)


def test_nothing_is_kept_of_a_node_whose_key_is_not_pinned(sshd: Sshd, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with bridge_to(sshd, tmp_path, known_hosts=empty) as bridge:
        with pytest.raises(FailedPreconditionError) as caught:
            bridge.lookup(HOST)
        assert caught.value.reason is Reason.HOST_KEY_UNKNOWN
        assert list((tmp_path / "state").iterdir()) == []


def test_the_cost_of_a_command_is_bounded(runner: SshRunner) -> None:
    runner.exists("/")
    started = time.monotonic()
    for _ in range(20):
        assert runner.exists("/")
    print(f"one question over SSH: {(time.monotonic() - started) / 20 * 1000:.1f} ms, {os.cpu_count()} processors")

import pytest

from compose.lab import kernel
from compose.lab.errors import CannotRunHereError, LabError
from compose.lab.settings import MIB, LabConfig, NodeState

LAB = LabConfig(name="one", directory="/srv/one", disks=2, memory_bytes=512 * MIB)


def test_the_command_line_names_disks_in_their_order_and_both_networks() -> None:
    argv = kernel.kernel_argv(LAB, NodeState(index=2, disk_order=(2, 1)))
    assert argv[0] == "linux.uml"
    assert {"mem=512M", "umid=one-node2", "uml_dir=/srv/one/uml", "ro"} <= set(argv)
    disks = [word for word in argv if word.startswith("ubd")]
    assert disks == [
        "ubdad=/srv/one/node2/state.img",
        "ubdbd=/srv/one/node2/disk2.img",
        "ubdcd=/srv/one/node2/disk1.img",
    ]
    assert [word for word in argv if word.startswith("vec")] == [
        "vec0:transport=tap,ifname=node2,mac=02:77:00:00:00:02",
        "vec1:transport=tap,ifname=node2c,mac=02:77:00:00:01:02",
    ]


def test_init_is_python_with_the_nodes_settings_after_the_dashes() -> None:
    argv = kernel.kernel_argv(LAB, NodeState(index=1))
    assert argv[argv.index("--") - 1] == "init=/usr/bin/python3"
    assert argv[argv.index("--") + 1 :] == ["-ISB", str(kernel.INIT), "/srv/one/node1/init.json"]


def test_a_pulled_disk_is_not_on_the_command_line() -> None:
    argv = kernel.kernel_argv(LAB, NodeState(index=1, disk_order=(2,)))
    assert [word for word in argv if "disk" in word] == ["ubdbd=/srv/one/node1/disk2.img"]


def test_the_shim_is_preloaded_and_memory_goes_aside_only_when_told() -> None:
    assert kernel.kernel_environment(LAB, None)["LD_PRELOAD"] == "/srv/one/xstate_shim.so"
    assert "TMPDIR" not in kernel.kernel_environment(LAB, None)
    assert kernel.kernel_environment(LAB, "/srv/one")["TMPDIR"] == "/srv/one"


@pytest.mark.parametrize(
    ("console", "advice"),
    [
        ("userspace - ptrace set fp regs failed, errno = 14", "register state"),
        ("start_ptraced_child : ptrace failed: Operation not permitted", "SYS_PTRACE"),
        ("Checking PROT_EXEC mmap in /dev/shm...Operation not permitted", "noexec"),
        ("tap: TUNSETIFF failed", "tap device"),
        ("Kernel panic - not syncing: No init found", "panics"),
    ],
)
def test_the_console_tells_what_to_do(console: str, advice: str) -> None:
    assert advice in (kernel.diagnose(console) or "")


def test_a_console_without_trouble_has_no_diagnosis() -> None:
    assert kernel.diagnose("Linux version 6.1\nlab-init: files ready") is None


def test_a_kernel_that_runs_quietly_may_still_come_up() -> None:
    assert kernel.failure("node1", "booting", alive=True) is None


def test_a_kernel_that_never_worked_is_the_machines_fault() -> None:
    for console, alive in (("Kernel panic - not syncing", True), ("anything", False), ("", False)):
        assert isinstance(kernel.failure("node1", console, alive=alive), CannotRunHereError)


def test_a_kernel_that_worked_before_is_not() -> None:
    error = kernel.failure("node1", f"{kernel.CHANNEL_OPEN} (1 s)\nKernel panic", alive=True)
    assert isinstance(error, LabError)
    assert not isinstance(error, CannotRunHereError)


def test_what_init_says_is_the_message_and_the_tail_follows() -> None:
    error = kernel.failure("node1", "one\nlab-init: FAILED: boot script x failed with 4\n", alive=True)
    assert str(error).splitlines()[0] == "node1: boot script x failed with 4"
    assert "    | one" in str(error)


def test_only_the_tail_of_a_console_is_shown() -> None:
    tail = kernel.console_tail("\n".join(str(number) for number in range(100)), lines=2)
    assert tail == "    | 98\n    | 99"

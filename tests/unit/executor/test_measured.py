"""Commands by kind and outcome."""

import pytest

from services.common.errors import TimeLimitError
from services.common.metrics import REGISTRY
from services.common.reasons import Reason
from services.executor.runners.base import CommandResult
from services.executor.runners.measured import label_of, measured


@pytest.mark.parametrize(
    ("argv", "script", "label"),
    [
        (["lvm", "lvcreate", "--name", "brick_1"], None, "lvm lvcreate"),
        (["mkfs.xfs", "-i", "size=512", "/dev/x"], None, "mkfs.xfs"),
        (["/usr/sbin/gluster", "--mode=script", "volume", "info", "vol_1"], None, "gluster volume info"),
        (["gluster", "--mode=script"], "volume create vol_1 n1:/b\nvolume start vol_1\n", "gluster volume create"),
        (["gluster", "--mode=script", "peer", "status"], None, "gluster peer status"),
        (["gluster", "--mode=script", "--xml"], "", "gluster"),
        (["gluster-block", "create", "vol/name"], None, "gluster-block create"),
        (["lvm", "/dev/sdb"], None, "lvm"),
    ],
)
def test_labels_leave_out_what_differs_from_call_to_call(argv: list[str], script: str | None, label: str) -> None:
    assert label_of(argv, script) == label


def counted(outcome: str) -> float:
    labels = {"command": "lvm pvs", "outcome": outcome}
    return REGISTRY.get_sample_value("brickyard_command_seconds_count", labels) or 0.0


def test_outcomes() -> None:
    argv = ("lvm", "pvs")
    before = {name: counted(name) for name in ("ok", "failed", "timed_out")}
    for code in (0, 5):
        with measured(argv, None) as outcome:
            outcome.of(CommandResult(argv, code, "", "", 0.1))
    with pytest.raises(TimeLimitError), measured(argv, None):
        raise TimeLimitError(Reason.COMMAND_TIMED_OUT, "late")
    with pytest.raises(RuntimeError), measured(argv, None):
        raise RuntimeError
    assert {name: counted(name) - before[name] for name in before} == {"ok": 1, "failed": 2, "timed_out": 1}

"""Random messages to every RPC of the agent: each gets an answer or a proper refusal, and no foreign word runs."""

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brickyard.executor.v1 import executor_service_pb2 as messages
from services.common.errors import BrickyardError, InternalError
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor.runners.simulated import Fleet, FleetSettings
from services.executor.runners.simulated.runner import SimulatedRunner
from services.executor.servicer import EPOCH_KEY, NODE_KEY, ExecutorServicer
from services.executor.settings import Patience

METHODS = {method.name: method for method in messages.DESCRIPTOR.services_by_name["ExecutorService"].methods}
# Whatever has it is no word of ours, and must reach neither a command nor a file.
FOREIGN = "HOSTILE"
HOSTILE = [
    f"-{FOREIGN}",
    f"--{FOREIGN}=1",
    f"../{FOREIGN}",
    f"/../{FOREIGN}",
    f"/dev/../{FOREIGN}",
    f"/dev/sdb {FOREIGN}",
    f"/dev/sdb;{FOREIGN}",
    f"$({FOREIGN})",
    f"`{FOREIGN}`",
    f"a\n{FOREIGN}",
    f"a\0{FOREIGN}",
    f"vol_x {FOREIGN}",
    f"vol_x\nvolume delete {FOREIGN}",
    f"'{FOREIGN}",
    f"nfs.rpc-statd /{FOREIGN}",
    f"auth.allow $({FOREIGN})",
    f"user.x a;{FOREIGN}",
    f"group ../{FOREIGN}",
    f"debug.trace {FOREIGN}",
    f"{FOREIGN}\u2028",
    f"vg_{FOREIGN}/",
]
IDS = ["0" * 32, "1" * 32, "a" * 32, "f" * 32]
PLAUSIBLE = [
    *IDS, "", "vol_x", "node1", "10.0.0.1", "10.0.0.2", "/dev/sdb", "/dev/sdc", f"tp_{'a' * 32}", f"brick_{'a' * 32}",
    f"/var/lib/heketi/mounts/vg_{'1' * 32}/brick_{'a' * 32}/brick", "auth.allow 10.0.0.*", "full", "no", "x" * 300,
    f"{'f' * 32}/step",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(PLAUSIBLE), st.sampled_from(PLAUSIBLE), st.sampled_from(HOSTILE), st.text(max_size=6).map(str)
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 3, -1, GIB, 8 * MIB, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1)
)
# Nobody waits for anything here.
IMPATIENT = Patience(*(0.0,) * len(Patience.__dataclass_fields__))
_EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def field_values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """Values that a field may have on the wire."""
    if field.message_type is not None:
        return contents(field.message_type, depth + 1)
    if field.enum_type is not None:
        return st.one_of(st.sampled_from([value.number for value in field.enum_type.values]), st.just(77))
    kinds: dict[int, st.SearchStrategy[Any]] = {
        FieldDescriptor.CPPTYPE_STRING: TEXTS,
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
        FieldDescriptor.CPPTYPE_INT32: NUMBERS,
        FieldDescriptor.CPPTYPE_INT64: st.one_of(NUMBERS, st.sampled_from([2**63 - 1, -(2**63), 2**40])),
    }
    return kinds[field.cpp_type]


def contents(descriptor: Descriptor, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Values for the fields of a message, some of them left out."""
    if depth > 3:
        return st.just({})
    fields = {}
    for field in descriptor.fields:
        values = field_values(field, depth)
        fields[field.name] = st.lists(values, max_size=4) if field.is_repeated else values
    return st.fixed_dictionaries({}, optional=fields)


class Context:
    """As much of gRPC's context as the servicer uses."""

    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return self._metadata

    def time_remaining(self) -> float:
        return 5.0

    def add_callback(self, _callback: Any) -> bool:
        return True


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that reaches the node: words of commands, their stdin, and paths and texts of files."""
    seen: list[str] = []
    for name in ("run", "write_text_atomically", "make_directory", "remove_directory", "mount", "unmount", "set_group"):
        original = getattr(SimulatedRunner, name)

        def spy(self: Any, *arguments: Any, _original: Any = original, **named: Any) -> Any:
            seen.append(repr((arguments, named)))
            return _original(self, *arguments, **named)

        monkeypatch.setattr(SimulatedRunner, name, spy)
    return seen


def ready_fleet() -> Fleet:
    """Nodes with a pool, a device and a volume, so that plausible requests get far."""
    fleet = Fleet(FleetSettings(nodes=2, disk_bytes=20 * GIB, patience=IMPATIENT))
    fleet.node("node1").node.probe_peer("10.0.0.2")
    fleet.node("node1").node.create_device("1" * 32, "/dev/sdb", destroy_data=False)
    return fleet


@pytest.mark.parametrize("name", METHODS)
def test_random_messages(name: str, touched: list[str]) -> None:
    fleet = ready_fleet()
    servicer = ExecutorServicer(fleet.lookup)
    kind = message_factory.GetMessageClass(METHODS[name].input_type)

    @_EXAMPLES
    @given(
        fields=contents(METHODS[name].input_type),
        request_id=st.uuids(),
        node=st.sampled_from(["node1", "node2", "node9", f"-{FOREIGN}"]),
        epoch=st.sampled_from(["", "", "1", "2", "0", "-1", "x", "9" * 30]),
    )
    def ask(fields: dict[str, Any], request_id: Any, node: str, epoch: str) -> None:
        if "request_id" in kind.DESCRIPTOR.fields_by_name and fields.get("request_id") in {None, "", *PLAUSIBLE}:
            # Otherwise the journal would answer nearly all of them from memory.
            fields["request_id"] = request_id.hex
        request = kind(**fields)
        metadata = [(NODE_KEY, node), *([(EPOCH_KEY, epoch)] if epoch else [])]
        touched.clear()
        problem: BrickyardError | None = None
        try:
            answer: Message = getattr(servicer, name)(kind.FromString(request.SerializeToString()), Context(metadata))
            assert isinstance(answer, message_factory.GetMessageClass(METHODS[name].output_type))
        except BrickyardError as error:
            problem = error
        # INTERNAL is for tools that fail, and its reason says which; nothing of ours may be the cause.
        assert not isinstance(problem, InternalError) or problem.reason is not Reason.INTERNAL
        assert FOREIGN not in "".join(touched), touched

    ask()


def test_every_rpc_is_asked() -> None:
    assert set(METHODS) == {
        name for name in dir(ExecutorServicer) if name[:1].isupper() and callable(getattr(ExecutorServicer, name))
    }

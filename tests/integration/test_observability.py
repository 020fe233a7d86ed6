"""Metrics of every process, the dashboard over them, and one trace through all of them."""

import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.stack import ROOT, Credentials, Server, Stack, wait_until
from tests.integration.world import World

DASHBOARD = ROOT / "compose" / "observability" / "grafana-dashboard.json"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
# Words of PromQL that are no metrics.
_FUNCTIONS = {"max", "sum", "rate", "increase", "histogram_quantile", "by", "le"}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What an OpenTelemetry collector is for whoever sends: it takes all spans."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        for resource in request.resource_spans:
            (service,) = [
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            ]
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace: str) -> dict[str, tuple[str, Any]]:
        """The spans of a trace by id, each with its process."""
        return {span.span_id.hex(): (who, span) for who, span in self.spans if span.trace_id.hex() == trace}


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    server = grpc.server(ThreadPoolExecutor(4))
    servicer = Collector()
    register: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"http://127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, credentials: Credentials, collector: tuple[Collector, str]
) -> Iterator[Stack]:
    """A stack of which everything is watched."""
    directory = tmp_path_factory.mktemp("watched")
    flags = ("--metrics-listen", "127.0.0.1:0", "--trace-to", collector[1])
    with pytest.MonkeyPatch.context() as patch:
        # Spans are sent in batches; a test shall not wait for one.
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        stack = Stack(directory, credentials, f"sqlite:///{directory}/topology.db", flags=flags)
        try:
            stack.start()
            yield stack
        finally:
            stack.close()


def scraped(server: Server) -> str:
    address = server.events("metrics.ready")[-1]["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def names_in(text: str) -> set[str]:
    """The names that a query may use."""
    found = set()
    for family in text_string_to_metric_families(text):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {f"{family.name}{suffix}" for suffix in suffixes}
    return found


def value(text: str, name: str, **labels: str) -> float:
    """The sum of the samples with these labels."""
    samples = (each for family in text_string_to_metric_families(text) for each in family.samples)
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_every_process_tells_what_it_does_and_the_dashboard_asks_for_nothing_else(watched: Stack) -> None:
    world = World(watched)
    cluster = world.cluster(3)
    assert world.rest.follow(world.rest.send("POST", "/volumes", cluster.volume_body(1))).status_code == 303
    refused = world.rest.send("POST", "/volumes", cluster.volume_body(10_000))
    assert "No space" in refused.text
    topology, allocator, agents = map(scraped, (watched.topology, watched.allocator, watched.agents_server))
    gateway = world.rest.send("GET", "/metrics").text
    assert "brickyard_rpc_seconds" in scraped(watched.gateway)

    rpc = "brickyard.{}.v1.{}".format
    seconds = "brickyard_rpc_seconds_count"
    assert value(topology, seconds, method=rpc("topology", "OperationService/BeginOperation"), code="OK") > 0
    assert value(allocator, seconds, method=rpc("allocator", "AllocatorService/PlanVolume"), code="OK") == 1
    exhausted = {"method": rpc("allocator", "AllocatorService/PlanVolume"), "code": "RESOURCE_EXHAUSTED"}
    assert value(allocator, seconds, **exhausted) == 1
    assert value(allocator, "brickyard_placement_refusals_total", reason="NO_SPACE") == 1
    assert value(allocator, "brickyard_placement_refused_devices_total", reason="TOO_SMALL") == 3
    assert value(agents, seconds, method=rpc("executor", "ExecutorService/CreateBrick"), code="OK") == 3
    assert value(agents, "brickyard_command_seconds_count", command="mkfs.xfs", outcome="ok") == 3
    assert value(agents, "brickyard_command_seconds_count", command="lvm lvcreate", outcome="ok") >= 3
    for shown in (topology, gateway):
        assert value(shown, "brickyard_operations", kind="create_volume", state="succeeded") == 1
    assert value(gateway, "brickyard_agent_call_seconds_count", method="CreateBrick", outcome="OK") == 3

    known = set().union(*map(names_in, (topology, allocator, agents, gateway)))
    asked = queries()
    assert len(asked) > 15
    for query in asked:
        bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"|by \([^)]*\)', " ", query)
        used = set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - _FUNCTIONS
        assert used, query
        assert used <= known, query


def test_one_trace_goes_through_all_processes(watched: Stack, collector: tuple[Collector, str]) -> None:
    world = World(watched)
    cluster = world.cluster(3)
    carried = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    accepted = world.rest.send("POST", "/volumes", cluster.volume_body(1), headers=carried)
    assert world.rest.follow(accepted).status_code == 303
    wanted = {
        ("brickyard-gateway", "POST /volumes"),
        ("brickyard-allocator", "brickyard.allocator.v1.AllocatorService/PlanVolume"),
        ("brickyard-topology", "brickyard.topology.v1.TopologyService/GetInventory"),
        ("brickyard-topology", "brickyard.topology.v1.OperationService/BeginOperation"),
        ("brickyard-topology", "brickyard.topology.v1.OperationService/CommitOperation"),
        ("brickyard-agent", "brickyard.executor.v1.ExecutorService/CreateBrick"),
        ("brickyard-agent", "brickyard.executor.v1.ExecutorService/CreateVolume"),
    }
    taken, _ = collector

    def complete() -> bool:
        return wanted <= {(who, span.name) for who, span in taken.of(TRACE).values()}

    wait_until(complete, "all spans of the trace")

    def is_tree() -> bool:
        """Whether every span but the first has its parent in the trace; parents come after their children."""
        there = taken.of(TRACE)
        return len([1 for _, span in there.values() if span.parent_span_id.hex() not in there]) == 1

    wait_until(is_tree, "the tree")
    spans = taken.of(TRACE)
    (root,) = [(who, span) for who, span in spans.values() if span.parent_span_id.hex() not in spans]
    assert (root[0], root[1].name, root[1].parent_span_id.hex()) == ("brickyard-gateway", "POST /volumes", PARENT)
    told = {each.key: each.value.string_value for each in root[1].attributes}
    assert told["http.response.status_code"] == "202"
    assert told["brickyard.request_id"] == accepted.headers["x-request-id"]
    served = next(
        span for who, span in spans.values() if span.name.endswith("GetInventory") and who.endswith("topology")
    )
    caller, called = spans[served.parent_span_id.hex()]
    assert (caller, called.name) == ("brickyard-allocator", served.name)


def test_the_example_for_prometheus_scrapes_every_kind_of_process() -> None:
    text = (Path(DASHBOARD).parent / "prometheus.yml").read_text()
    assert set(re.findall(r"job_name: (\S+)", text)) == {
        f"brickyard-{name}" for name in ("gateway", "topology", "allocator", "agent")
    }

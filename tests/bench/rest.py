"""The REST interface under load, on `brickyard serve` with simulated nodes: latencies, rates, CPU and memory.

    python -m tests.bench.rest --devices 32 --volumes 0,1000 --operations 100
    python -m tests.bench.rest --devices 1200 --volumes 0,1000,5000 --operations 100 --json figures.json

For each size: creates and deletes one after another and 16 at a time, single reads, and a walk over the whole topology
as `heketi-cli topology info` does it. A create counts from its request to the answer of the queue that it is done. It
measures and judges nothing.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.tokens import make_token

_DISKS_A_NODE = 24
_AT_ONCE = 16
_READS = 300
_POLL_S = 0.005
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_VOLUME = {"size": 1, "durability": {"type": "replicate", "replicate": {"replica": 3}}}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured kind of request.

    Attributes:
        devices: Devices in the cluster.
        volumes: Volumes in it before.
        what: The kind.
        count: How many were sent.
        p50_ms: Median latency.
        p95_ms: 95th percentile.
        per_s: Rate.
        cpu_ms: CPU time of all processes for each.
        cpu_by_process_ms: The same by process.
    """

    devices: int
    volumes: int
    what: str
    count: int
    p50_ms: float
    p95_ms: float
    per_s: float
    cpu_ms: float
    cpu_by_process_ms: dict[str, float]


class Server:
    """`brickyard serve` and the processes below it."""

    def __init__(self, directory: Path, devices: int) -> None:
        self.directory = directory
        nodes = max(4, devices // _DISKS_A_NODE)
        argv = ["serve", "--nodes", str(nodes), "--disks", str(devices // nodes), "--disk-size-gib", "2000"]
        argv += ["--rest", "127.0.0.1:0", "--operator", "127.0.0.1:0", "--state-dir", str(directory)]
        argv += ["--max-inflight-operations", "0", "--max-volumes-per-cluster", "0", "--log-level", "error"]
        self._argv = argv
        self.start()
        self.key = (directory / "admin.key").read_text().strip()

    def start(self) -> None:
        """Starts all of it, with what there is in the directory."""
        began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli.brickyard", *self._argv], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = ""
        for line in self.process.stdout:
            if " ready on " in line:
                self.url = line.split(" ready on ")[1].split()[0]
                break
        if not self.url:
            raise SystemExit("bench: brickyard serve did not start; its reason is above")
        self.start_s = time.monotonic() - began

    def pids(self) -> dict[str, int]:
        """The processes by name."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = {}
        for pid in map(int, path.read_text().split()):
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found[argv[2].decode()] = pid
        return found

    def cpu_s(self) -> dict[str, float]:
        """CPU time of each of them so far."""
        found = {}
        for name, pid in self.pids().items():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[name.rpartition(".")[2]] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        return found

    def memory_mib(self) -> dict[str, float]:
        """Resident memory by process."""
        found = {}
        for name, pid in self.pids().items():
            status = Path(f"/proc/{pid}/status").read_text()
            kib = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
            found[name] = round(kib / 1024, 1)
        return found

    def stop(self) -> None:
        """Ends all of it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class Load:
    """A client that sends many requests at once and follows each to its end."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.AsyncClient(base_url=server.url, timeout=120, limits=httpx.Limits(max_connections=64))

    async def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        token = make_token(self.server.key, user="admin", method=method, path=path)
        content = None if body is None else json.dumps(body)
        answer = await self.http.request(method, path, content=content, headers={"Authorization": f"bearer {token}"})
        if answer.status_code >= 400:
            raise SystemExit(f"bench: {method} {path}: {answer.status_code} {answer.text.strip()}")
        return answer

    async def change(self, method: str, path: str, body: Any = None) -> str:
        """A change to its end; the path of what it made."""
        answer = await self.send(method, path, body)
        location = ""
        while answer.status_code in (200, 202):
            location = answer.headers.get("Location") or location
            if answer.status_code == 200:
                # The protocol has no other way to wait.
                await asyncio.sleep(_POLL_S)
            answer = await self.send("GET", location)
        return str(answer.headers.get("Location", ""))

    async def walk(self) -> int:
        """Everything there is, one request after another; returns how many."""
        count = 1
        for cluster_id in (await self.send("GET", "/clusters")).json()["clusters"]:
            cluster = (await self.send("GET", f"/clusters/{cluster_id}")).json()
            paths = [f"/volumes/{each}" for each in cluster["volumes"]] + [
                f"/nodes/{each}" for each in cluster["nodes"]
            ]
            for path in paths:
                await self.send("GET", path)
            count += 1 + len(paths)
        return count


async def run_all(work: Sequence[Callable[[], Awaitable[Any]]], at_once: int) -> list[float]:
    """Runs all, so many at a time; returns the seconds that each took."""
    seconds: list[float] = []
    waiting = iter(work)

    async def worker() -> None:
        for one in waiting:
            began = time.perf_counter()
            await one()
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return seconds


class Bench:
    """One server, grown step by step."""

    def __init__(self, server: Server, devices: int) -> None:
        self.server = server
        self.load = Load(server)
        self.devices = devices
        self.volumes: list[str] = []
        self.figures: list[Figure] = []

    async def measure(self, what: str, work: Sequence[Callable[[], Awaitable[Any]]], at_once: int = 1) -> None:
        cpu_before, began = self.server.cpu_s(), time.perf_counter()
        seconds = await run_all(work, at_once)
        whole = time.perf_counter() - began
        cuts = statistics.quantiles(seconds, n=20) if len(seconds) > 1 else [seconds[0]] * 19
        spent = {
            name: round((after - cpu_before[name]) / len(seconds) * 1000, 2)
            for name, after in self.server.cpu_s().items()
        }
        figure = Figure(
            self.devices,
            self.held,
            what,
            len(seconds),
            round(statistics.median(seconds) * 1000, 2),
            round(cuts[18] * 1000, 2),
            round(len(seconds) / whole, 1),
            round(sum(spent.values()), 2),
            spent,
        )
        self.figures.append(figure)
        print(
            f"{figure.devices:>5} devices {figure.volumes:>5} volumes  {what:<18} p50 {figure.p50_ms:>9.2f} ms"
            f"  p95 {figure.p95_ms:>9.2f} ms  {figure.per_s:>8.1f} /s  CPU {figure.cpu_ms:>8.2f} ms"
            f"  ({', '.join(f'{name} {ms:.1f}' for name, ms in figure.cpu_by_process_ms.items())})",
            flush=True,
        )

    held = 0

    async def create(self) -> None:
        self.volumes.append(await self.load.change("POST", "/volumes", _VOLUME))

    async def delete(self) -> None:
        await self.load.change("DELETE", self.volumes.pop())

    async def grow_to(self, count: int) -> None:
        began = time.monotonic()
        await run_all([self.create] * max(0, count - len(self.volumes)), _AT_ONCE)
        if time.monotonic() - began > 2:
            print(f"  {count} volumes made in {time.monotonic() - began:.0f} s", flush=True)
        self.held = len(self.volumes)

    async def round(self, operations: int) -> None:
        """All kinds of requests at the present size."""
        await self.measure("create", [self.create] * operations)
        await self.measure("delete", [self.delete] * operations)
        await self.measure(f"create, {_AT_ONCE} at once", [self.create] * operations, _AT_ONCE)
        await self.measure("GET /volumes/ID", [lambda: self.load.send("GET", self.volumes[0])] * _READS)
        await self.measure("GET /volumes", [lambda: self.load.send("GET", "/volumes")] * 20)
        await self.measure(f"delete, {_AT_ONCE} at once", [self.delete] * operations, _AT_ONCE)
        await self.measure("whole topology", [self.load.walk])


@contextlib.contextmanager
def _server(devices: int) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="brickyard-bench-") as directory:
        server = Server(Path(directory), devices)
        try:
            yield server
        finally:
            server.stop()


async def load_topology(load: Load) -> None:
    """Adds all simulated nodes one after another, as gluster has it, and then all devices."""
    began = time.monotonic()
    content = json.loads((load.server.directory / "topology.json").read_text())
    cluster_id = (await load.send("POST", "/clusters", {"file": True, "block": True})).json()["id"]
    devices = []
    for each in content["clusters"][0]["nodes"]:
        made = await load.change("POST", "/nodes", {**each["node"], "cluster": cluster_id})
        devices += [{"node": made.removeprefix("/nodes/"), "name": name} for name in each["devices"]]
    await run_all([partial(load.change, "POST", "/devices", body) for body in devices], _AT_ONCE)
    print(f"ready in {load.server.start_s:.2f} s; topology loaded in {time.monotonic() - began:.1f} s", flush=True)


async def _bench(server: Server, devices: int, volumes: Sequence[int], operations: int) -> list[Figure]:
    bench = Bench(server, devices)
    await load_topology(bench.load)
    for count in volumes:
        await bench.grow_to(count)
        await bench.round(operations)
        print(f"  memory, MiB: {server.memory_mib()}", flush=True)
    await bench.load.http.aclose()
    return bench.figures


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="32", help="comma separated numbers of devices (default: %(default)s)")
    parser.add_argument("--volumes", default="0,1000", help="ascending numbers of volumes (default: %(default)s)")
    parser.add_argument(
        "--operations", type=int, default=100, help="creates and deletes a round (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    for devices in map(int, arguments.devices.split(",")):
        with _server(devices) as server:
            counts = [int(count) for count in arguments.volumes.split(",")]
            figures += asyncio.run(_bench(server, devices, counts, arguments.operations))
            server.stop()
            server.start()
            print(f"  started again with {counts[-1]} volumes in {server.start_s:.2f} s", flush=True)
    document = {"bench": "rest", "cores": os.cpu_count(), "figures": [asdict(each) for each in figures]}
    print(json.dumps(document))
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()

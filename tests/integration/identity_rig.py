"""A topology that signs, an agent that joined, and clients, all in this process, with certificates of some seconds."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import grpc

from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1.executor_service_pb2_grpc import ExecutorServiceStub
from brickyard.topology.v1 import identity_service_pb2, identity_service_pb2_grpc
from brickyard.topology.v1.topology_service_pb2 import ListClustersRequest
from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub
from services.common.authority import create_authority, issue_certificate
from services.common.certificates import Certificate, read_certificate
from services.common.channels import open_aio_channel, open_channel
from services.common.credentials import TlsFiles
from services.common.identity import Role
from services.common.keeper import IdentityKeeper, RemoteRegistrar
from services.common.settings import ServerSettings
from services.common.trust import TrustList
from services.executor import bootstrap, joining
from services.executor.runners.simulated import FleetSettings
from services.topology.bootstrap import AuthoritySettings, Topology, TopologyServer
from tests.integration.clients import HOST
from tests.integration.stack import wait_until

NODE = "node1"
POLL_S = 0.1


def settings(files: TlsFiles) -> ServerSettings:
    return ServerSettings(
        listen=(f"{HOST}:0",), tls=files, insecure_plaintext=False, grace_s=1.0, identity_poll_s=POLL_S
    )


class Rig:
    """Topology and authority; an agent and a gateway's client on demand."""

    def __init__(self, directory: Path, lifetime: timedelta) -> None:
        self.directory = directory
        self.lifetime = lifetime
        self.ca = directory / "ca"
        create_authority(self.ca)
        self.topology_files = self.issue(Role.TOPOLOGY, "topology")
        self.topology = Topology(
            f"sqlite:///{directory}/topology.db",
            authority=AuthoritySettings(directory=self.ca, lifetime=lifetime, join_listen=f"{HOST}:0"),
        )
        self.server = TopologyServer(self.topology, settings(self.topology_files))
        self._ends: list[Callable[[], None]] = [self.topology.close, self.server.stop]

    @property
    def address(self) -> str:
        return self.server.addresses[0]

    @property
    def join_address(self) -> str:
        return self.server.addresses[1]

    @property
    def pin(self) -> str:
        return self.topology.identities.authority().pin

    def issue(self, role: Role, name: str, lifetime: timedelta | None = None) -> TlsFiles:
        return issue_certificate(
            self.ca, self.directory / name, role=role, name=name, hosts=[HOST], lifetime=lifetime or self.lifetime
        )

    def issue_later(self, role: Role, name: str) -> TlsFiles:
        """As `issue`, in the next second: certificates tell seconds, and those of this one may be revoked."""
        start = int(time.time())
        wait_until(lambda: time.time() >= start + 1, "the next second")
        return self.issue(role, name)

    def server_knows(self, name: str) -> bool:
        """Whether the topology's own server refuses this gateway."""
        return any(name in each.uri for each in self.topology.trust.trust.revocations)

    def token(self, node: str = NODE) -> str:
        return self.topology.identities.create_token(node, [HOST], timedelta(minutes=15)).text

    def join(self, *, node: str = NODE, token: str | None = None, pin: str | None = None) -> TlsFiles:
        joining.join(
            self.join_address,
            node_name=node,
            token=self.token(node) if token is None else token,
            pin=pin or self.pin,
            directory=self.directory / "joined" / node,
            progress=lambda _line: None,
        )
        return TlsFiles.in_directory(self.directory / "joined" / node)

    def agent(self, files: TlsFiles) -> str:
        """Serves an agent with these files; returns where."""
        agent, _ = bootstrap.simulated_agent(FleetSettings(nodes=1))
        server = bootstrap.serve(agent, settings(files), topology=self.address)
        self._ends += [agent.close, server.stop]
        return server.addresses[0]

    def keep(self, files: TlsFiles) -> TrustList:
        """Keeps a client's identity, as a gateway does; returns what it was told."""
        trust = TrustList()
        registrar = RemoteRegistrar(self.address, files, identity_service_pb2, identity_service_pb2_grpc)
        keeper = IdentityKeeper(files, registrar, trust, poll_s=POLL_S).start()
        self._ends.append(keeper.stop)
        return trust

    def close(self) -> None:
        for end in reversed(self._ends):
            end()


@contextmanager
def running(directory: Path, lifetime: timedelta) -> Iterator[Rig]:
    rig = Rig(directory, lifetime)
    try:
        yield rig
    finally:
        rig.close()


def certificate_of(files: TlsFiles) -> Certificate:
    return read_certificate(files.read()[1])


def ask_agent(channel: grpc.Channel) -> None:
    stub: Any = ExecutorServiceStub(channel)
    stub.GetGlusterd(executor_pb2.GetGlusterdRequest(), timeout=10)


class Traffic:
    """Calls that go on and on until the end of the block: to the agent by thread, to the topology by asyncio."""

    def __init__(self, rig: Rig, agent: str, files: TlsFiles) -> None:
        self._rig = rig
        self._agent = agent
        self._files = files
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.calls: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._threaded, name="to-agent"),
            threading.Thread(target=lambda: asyncio.run(self._asynchronous()), name="to-topology"),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _threaded(self) -> None:
        with closing(open_channel(self._agent, self._files)) as channel:
            while not self._stop.wait(0.01):
                self._count("agent", lambda: ask_agent(channel))

    async def _asynchronous(self) -> None:
        async with open_aio_channel(self._rig.address, self._files, role=Role.TOPOLOGY) as channel:
            stub: Any = TopologyServiceStub(channel)
            while not self._stop.is_set():
                try:
                    await stub.ListClusters(ListClustersRequest(), timeout=10)
                    self.calls["topology"] += 1
                except grpc.RpcError as error:
                    self.failures.append(f"topology: {error.code()} {error.details()}")
                await asyncio.sleep(0.01)

    def _count(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
            self.calls[name] += 1
        except grpc.RpcError as error:
            self.failures.append(f"{name}: {error.code()} {error.details()}")

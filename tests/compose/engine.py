"""A Docker daemon of the tests' own: its files in a temporary directory, its network in a namespace. Effects: those."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DOCKERD, DOCKER = "/usr/sbin/dockerd", "/usr/bin/docker"
# For a machine where it lies elsewhere.
COMPOSE = os.environ.get("BRICKYARD_DOCKER_COMPOSE", "/usr/bin/docker-compose")
_PROGRAMS = {
    DOCKERD: "docker.io",
    DOCKER: "docker.io",
    COMPOSE: "docker-compose",
    "/usr/sbin/debootstrap": "debootstrap",
    "/usr/sbin/iptables": "iptables",
}
BASE_IMAGE = "debian:bookworm-slim"
_MIRROR = "http://deb.debian.org/debian"
_READY_WITHIN_S = 60.0
_STOP_WITHIN_S = 60.0
# To build, the daemon is on the host's network, where it changes nothing: apt-get needs a way out.
_NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


class EngineError(Exception):
    """A command failed; its words are in the text."""


def why_not() -> str:
    """Why there can be no containers here; empty when there can."""
    if os.geteuid() != 0:
        return "containers need root"
    missing = sorted({package for program, package in _PROGRAMS.items() if not Path(program).exists()})
    return f"packages are missing: {' '.join(missing)}; run `tests/run compose`" if missing else ""


@dataclass(slots=True)
class Engine:
    """One daemon at a time over the same images.

    Attributes:
        directory: Everything of it.
        name: Of its network namespace.
        environment: For docker and docker-compose.
    """

    directory: Path
    name: str = field(default_factory=lambda: f"brickyard-{os.getpid()}")
    environment: dict[str, str] = field(default_factory=dict)
    _daemon: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{self.directory}/sock",
            "DOCKER_CONFIG": str(self.directory / "config"),
            "PATH": f"{self.directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        (self.directory / "bin").mkdir(parents=True, exist_ok=True)
        (self.directory / "bin" / "docker").unlink(missing_ok=True)
        (self.directory / "bin" / "docker").symlink_to(DOCKER)

    @property
    def _in_namespace(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.name}", "--"]

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """The daemon on the host's network, for the length of a block."""
        with self._running(_NO_NETWORK, []):
            yield

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """The daemon in a network namespace of its own, for the length of a block."""
        _checked(["ip", "netns", "add", self.name])
        try:
            _checked(["ip", "-n", self.name, "link", "set", "lo", "up"])
            with self._running([], self._in_namespace):
                yield
        finally:
            _checked(["ip", "netns", "delete", self.name])

    @contextlib.contextmanager
    def _running(self, flags: Sequence[str], prefix: Sequence[str]) -> Iterator[None]:
        places = [
            *("--data-root", str(self.directory / "data"), "--exec-root", str(self.directory / "exec")),
            *("--pidfile", str(self.directory / "pid"), "--host", f"unix://{self.directory}/sock"),
        ]
        with (self.directory / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [*prefix, DOCKERD, *places, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._await_ready()
            yield
        finally:
            self._daemon.terminate()
            try:
                self._daemon.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
            self._unmount()

    def _unmount(self) -> None:
        """What the daemon leaves mounted: the mark of its network namespace, and more when it had to be killed."""
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        # Later ones may lie over earlier ones.
        for point in reversed(points):
            if Path(point).is_relative_to(self.directory):
                _checked(["umount", point])

    def _await_ready(self) -> None:
        assert self._daemon is not None
        deadline = time.monotonic() + _READY_WITHIN_S
        while subprocess.run([DOCKER, "version"], env=self.environment, capture_output=True, check=False).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                words = (self.directory / "dockerd.log").read_text(errors="replace").splitlines()[-5:]
                raise EngineError("dockerd does not get ready:\n" + "\n".join(words))
            time.sleep(0.1)

    def docker(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """What a docker command writes."""
        return _checked([DOCKER, *arguments], env=self.environment, timeout_s=timeout_s)

    def has_image(self, name: str) -> bool:
        """Whether an image was made already."""
        return bool(self.docker("images", "-q", name).strip())

    def in_network(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> str:
        """What a program writes that sees the published ports."""
        return _checked([*self._in_namespace, *argv], env={**os.environ, **(env or {})}, timeout_s=timeout_s)

    def make_base_image(self) -> None:
        """The image that the Dockerfiles begin with, made of Debian's packages: no registry is needed."""
        tree = self.directory / "base"
        _checked(["debootstrap", "--variant=minbase", "bookworm", str(tree), _MIRROR], timeout_s=600)
        for path in (tree / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            path.unlink()
        (tree / "etc" / "apt" / "apt.conf.d" / "no-archives").write_text('APT::Keep-Downloaded-Packages "false";\n')
        archive = self.directory / "base.tar"
        _checked(["tar", "-C", str(tree), "-cf", str(archive), "."], timeout_s=120)
        self.docker("import", str(archive), BASE_IMAGE, timeout_s=120)
        archive.unlink()
        shutil.rmtree(tree)

    def remove(self) -> None:
        """Every file of it."""
        shutil.rmtree(self.directory)


def _checked(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> str:
    result = subprocess.run(
        list(argv),
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    if result.returncode:
        raise EngineError(
            f"{' '.join(argv[:6])}: exit code {result.returncode}\n{result.stderr}{result.stdout[-2000:]}"
        )
    return result.stdout


@dataclass(slots=True)
class Project:
    """What docker-compose runs.

    Attributes:
        engine: The daemon.
        files: Compose files, later ones over earlier ones.
        environment: What stands in .env files otherwise.
    """

    engine: Engine
    files: Sequence[Path]
    environment: Mapping[str, str]

    def compose(self, *arguments: str, timeout_s: float = 300.0) -> str:
        """What a docker-compose command writes."""
        files = [word for path in self.files for word in ("-f", str(path))]
        env = {**self.engine.environment, **self.environment}
        return _checked([COMPOSE, "-p", "brickyard", *files, *arguments], env=env, timeout_s=timeout_s)

    def container(self, service: str) -> str:
        """Id of the container of a service."""
        # docker-compose would take a second of processor time to tell.
        return self.engine.docker("ps", "-aq", "--filter", f"label=com.docker.compose.service={service}").strip()

    def inspect(self, service: str, template: str) -> str:
        """Something about the container of a service."""
        return self.engine.docker("inspect", "-f", template, self.container(service)).strip()

    def crash(self, service: str) -> None:
        """Kills the main process of a container, as the kernel would: docker starts it anew."""
        os.kill(int(self.inspect(service, "{{.State.Pid}}")), signal.SIGKILL)

    def is_healthy(self, service: str) -> bool:
        """Whether its health check says so."""
        return self.inspect(service, "{{.State.Health.Status}}") == "healthy"

    def restarts(self, service: str) -> int:
        """How often docker started it anew."""
        return int(self.inspect(service, "{{.RestartCount}}"))

"""The steps of a deployment. Each looks first, so that a second run does only what the first one did not."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.cli.deployment.enrolment import JoinByToken
from gateway.cli.deployment.paths import CONFIG, TLS_DIRECTORY
from gateway.cli.deployment.plan import OLDEST_PYTHON, AgentPlan, Wheelhouse
from gateway.cli.deployment.shell import NodeShell
from gateway.cli.deployment.starting import Starter, StartMode, choose_starter
from services.common.errors import FailedPreconditionError, InternalError
from services.common.reasons import Reason
from services.common.ssh import SshLostError

_MIB = 1 << 20
_INSTALL_TIMEOUT_S = 600.0
_READY_WITHIN_S = 60.0
_PAUSE_S = 0.5
# Name of a tool, and the Debian package that has it.
_TOOLS = {"lvm": "lvm2", "mkfs.xfs": "xfsprogs", "gluster": "glusterfs-server"}
_LOOK = """
command -v python3 >/dev/null || { echo none; exit; }
python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'
for tool in "$@"; do command -v "$tool" >/dev/null || echo "$tool"; done
"""
_INSTALL = """
set -e
release=$1; wheels=$2; pip=$3; wanted=$4
rm -rf "$release"; mkdir -p "$release"
python3 -m venv --without-pip "$release"
"$release/bin/python" "$wheels/$pip/pip" install -q --disable-pip-version-check --no-cache-dir --no-index \\
  --find-links "$wheels" "$wanted"
touch "$release/.complete"
"""
_USE = """
set -e
[ "$(readlink "$2" 2>/dev/null)" != "$1" ] || { echo same; exit; }
ln -sfn "$1" "$2.new"; mv -fT "$2.new" "$2"; echo changed
"""
_FORGET = """
cd "$1" && for release in *; do [ "$release" = "$2" ] || rm -rf -- "./$release"; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Puts an agent on a node.

    Attributes:
        node: Commands on it.
        plan: What it gets.
        wheelhouse: Its software.
        enrolment: How it gets its certificate.
        start: Who starts it.
        unit: Text of the systemd unit.
        say: Tells the user of each step.
    """

    node: NodeShell
    plan: AgentPlan
    wheelhouse: Wheelhouse
    enrolment: JoinByToken
    start: StartMode
    unit: str
    say: Callable[[str], None]

    def run(self) -> bool:
        """Does what is not done yet; tells whether anything was.

        Raises:
            BrickyardError: A step failed; the next run begins with it.
        """
        self.enrolment.check()
        self._check_node()
        changed = self._install()
        changed |= self._tell("certificate", self.enrolment.enrol(self.node, self.plan), TLS_DIRECTORY)
        self.node.run(["mkdir", "-p", "-m", "0700", self.plan.state_directory])
        changed |= self._tell("settings", self.node.write(CONFIG, self.plan.config().encode()), CONFIG)
        starter = choose_starter(self.start, self.node, self.unit)
        if starter is None:
            self.say(f"not started, as asked; start it with: {self.plan.program} --config {CONFIG}")
            return changed
        changed |= starter.install(self.node, self.plan)
        if changed or not starter.runs(self.node):
            self.say(f"start: {starter.restart(self.node, self.plan)}")
            changed = True
        self._await(starter)
        self.node.script(_FORGET, f"{self.plan.prefix}/releases", self.wheelhouse.digest)
        return changed

    def _tell(self, what: str, changed: bool, where: str) -> bool:
        self.say(f"{what}: {'written to' if changed else 'already in'} {where}")
        return changed

    def _check_node(self) -> None:
        version, *missing = self.node.script(_LOOK, *_TOOLS).split()
        oldest = ".".join(map(str, OLDEST_PYTHON))
        if version == "none" or tuple(map(int, version.split("."))) < OLDEST_PYTHON:
            raise FailedPreconditionError(
                Reason.NOT_SUPPORTED_YET,
                f"{self.plan.host} has {'no python3' if version == 'none' else f'Python {version}'}; the agent needs "
                f"{oldest} or later as python3",
            )
        self.say(f"node: Python {version}")
        if missing:
            packages = " ".join(_TOOLS[tool] for tool in missing)
            self.say(f"node: {', '.join(missing)} not found; on Debian: apt-get install {packages}")

    def _install(self) -> bool:
        release = f"{self.plan.prefix}/releases/{self.wheelhouse.digest}"
        if not self.node.holds('[ -e "$1/.complete" ]', release):
            # SFTP has no sudo: the directory is that of the user who logged in.
            directory = self.node.run(["mktemp", "-d", "-t", "brickyard-deploy.XXXXXXXX"], as_user=True).strip()
            try:
                self._copy(directory)
                self.say("software: installing")
                wanted = f"brickyard[agent]=={self.wheelhouse.version}"
                self.node.script(
                    _INSTALL, release, directory, self.wheelhouse.pip.name, wanted, timeout_s=_INSTALL_TIMEOUT_S
                )
            finally:
                self.node.run(["rm", "-rf", "--", directory])
        changed = self.node.script(_USE, release, self.plan.current).strip() == "changed"
        return self._tell(f"software: brickyard {self.wheelhouse.version}", changed, release)

    def _copy(self, directory: str) -> None:
        wheels, total = self.wheelhouse.wheels, self.wheelhouse.size_bytes
        done = 0
        for number, path in enumerate(wheels, start=1):
            try:
                self.node.session.put(path, f"{directory}/{path.name}")
            except SshLostError as error:
                raise InternalError(Reason.INTERNAL, str(error)) from error
            done += path.stat().st_size
            self.say(
                f"software: copied {number} of {len(wheels)} wheels, {done / _MIB:.1f} of {total / _MIB:.1f} MiB "
                f"({path.name})"
            )

    def _await(self, starter: Starter) -> None:
        argv = [
            *(f"{self.plan.current}/bin/brickyard", "health", f"127.0.0.1:{self.plan.port}"),
            *("--tls-dir", TLS_DIRECTORY, "--server-name", self.plan.host),
        ]
        if not self.plan.listen.startswith(("0.0.0.0:", "[::]:")):
            argv[2] = self.plan.listen
        deadline = time.monotonic() + _READY_WITHIN_S
        while True:
            result = self.node.attempt(argv)
            if result.exit_code == 0:
                self.say(f"agent: answers at port {self.plan.port}")
                return
            if time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE_S)
        words = result.stderr.decode(errors="replace").strip()
        raise InternalError(
            Reason.INTERNAL,
            f"the agent does not answer within {_READY_WITHIN_S:.0f} s: {words}\n{starter.why_not(self.node)}",
        )

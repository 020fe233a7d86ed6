"""glusterd and its CLI, simulated: pools of nodes with their volumes. Memory only."""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from services.executor.runners.simulated.machine import Directory, Machine

Outcome = tuple[int, str, str]
_WELCOME = "Welcome to gluster prompt, type 'help' to see the available commands.\n"
_NO_DAEMON = "Connection failed. Please check if gluster daemon is operational.\n"
_VERSION = "glusterfs 10.3\nRepository revision: git://git.gluster.org/glusterfs.git\n"
_PROBE_FAILED = "Probe returned with Transport endpoint is not connected"
_HOSTS_BRICKS = (
    "Peer {} hosts one or more bricks. If the peer is in not recoverable state then use either replace-brick or "
    "remove-brick command with force to remove all bricks from the peer and attempt the peer detach again."
)
_DEFAULT_OPTIONS = {
    "storage.fips-mode-rchecksum": "on",
    "transport.address-family": "inet",
    "nfs.disable": "on",
}
# Texts of a failed command; the words of a failed XML answer are the same.
_GENERAL_ERRNO = 30800


@dataclass(slots=True)
class Volume:
    """A volume; `heal_entries` counts what each brick has to heal."""

    name: str
    uuid: str
    words: tuple[str, ...]
    bricks: list[str]
    options: dict[str, str] = field(default_factory=lambda: dict(_DEFAULT_OPTIONS))
    status: int = 0
    heal_entries: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Pool:
    """A trusted pool: its nodes in the order of joining, and their volumes."""

    members: list["Glusterd"] = field(default_factory=list)
    volumes: dict[str, Volume] = field(default_factory=dict)
    # Who holds gluster's lock on a volume, for tests of contention; empty for nobody.
    locked_by: str = ""


class Glusterd:
    """glusterd of one machine.

    Args:
        machine: Where it runs.
        hostnames: Names and addresses of its storage network.
    """

    def __init__(self, machine: Machine, hostnames: Sequence[str]) -> None:
        self.machine = machine
        self.hostnames = list(hostnames)
        self.uuid = str(uuid.uuid4())
        self.running = True
        self.reachable = True
        self.pool = Pool([self])

    def owns(self, brick: str) -> bool:
        """Whether a "host:/path" is on this machine."""
        return brick.partition(":")[0] in self.hostnames


class GlusterError(Exception):
    """What gluster answers instead of success."""

    def __init__(self, text: str, *, result: int = -1, number: int = _GENERAL_ERRNO) -> None:
        super().__init__(text)
        self.text = text
        self.result = result
        self.number = number


class Network:
    """All glusterds that can reach each other.

    Args:
        find: The glusterd of a storage host name; None when nobody answers there.
        adopt: Finds the glusterd of a brick when the host name is unknown; None when it cannot.
    """

    def __init__(
        self,
        find: Callable[[str], Glusterd | None],
        adopt: Callable[[str, str], Glusterd | None] = lambda _host, _path: None,
    ) -> None:
        self.lock = threading.RLock()
        self._find = find
        self._adopt = adopt

    def reachable(self, hostname: str) -> Glusterd | None:
        """The running glusterd of a host name."""
        found = self._find(hostname)
        return found if found is not None and found.running and found.reachable else None

    def of_brick(self, pool: Pool, brick: str) -> Glusterd:
        """The pool's member that holds a brick.

        Raises:
            GlusterError: The host is no peer.
        """
        host, _, path = brick.partition(":")
        adopted = self._adopt(host, path)
        if adopted is not None and adopted.pool is not pool:
            join(pool, adopted)
        member = next((each for each in pool.members if host in each.hostnames), None)
        if member is None:
            raise GlusterError(f"Host {host} is not in 'Peer in Cluster' state")
        if not (member.running and member.reachable):
            raise GlusterError(f"Host {host} not connected")
        return member


def join(pool: Pool, newcomer: Glusterd) -> None:
    """Takes a glusterd and those with it into a pool."""
    old = newcomer.pool
    for member in old.members:
        member.pool = pool
    pool.members += old.members
    pool.volumes.update(old.volumes)


class GlusterCli:
    """The gluster program on one machine.

    Args:
        daemon: Its glusterd.
        network: Whom it reaches.
        before: Called with each command of a script as one line; returns an outcome that replaces the command's.
    """

    def __init__(self, daemon: Glusterd, network: Network, before: Callable[[str], Outcome | None]) -> None:
        self._daemon = daemon
        self._network = network
        self._before = before

    def run(self, argv: Sequence[str], text: str | None) -> Outcome:
        """Runs one process: a command in argv, or a script on stdin."""
        words = [word for word in argv[1:] if not word.startswith("--")]
        if "--version" in argv:
            return 0, _VERSION, ""
        if words:
            return self._command(words, xml="--xml" in argv)
        out: list[str] = []
        err = [_WELCOME]
        code = 0
        for line in (text or "").splitlines():
            outcome = self._before(f"gluster {line}") or self._command(line.split(), xml="--xml" in argv)
            code = outcome[0]
            out.append(outcome[1])
            err.append(outcome[2])
            if code != 0:
                break
        return code, "".join(out), "".join(err)

    def _command(self, words: list[str], *, xml: bool) -> Outcome:
        if not self._daemon.running:
            return 1, "", _NO_DAEMON
        head = " ".join(words[:2])
        try:
            with self._network.lock:
                body, text = self._perform(head, words)
        except GlusterError as error:
            if xml:
                return 0, _xml(f"<opRet>{error.result}</opRet><opErrno>{error.number}</opErrno>", error.text), ""
            if head == "volume info":
                return 1, "", f"{error.text}\n"
            name = f" {words[2]}:" if head != "volume set" else ""
            return 1, "", f"{head}:{name} failed: {error.text}\n"
        return 0, _xml("<opRet>0</opRet><opErrno>0</opErrno>", "", body) if xml else text, ""

    def _perform(self, head: str, words: list[str]) -> tuple[str, str]:
        pool = self._daemon.pool
        if head == "pool list":
            return self._pool_list(pool), ""
        if head == "peer probe":
            return f"<output>{self._probe(pool, words[2])}</output>", "peer probe: success\n"
        if head == "peer detach":
            self._detach(pool, words[2])
            return "<output>success</output>", "peer detach: success\n"
        if head == "volume info":
            found = [_volume(pool, words[2])] if len(words) > 2 else list(pool.volumes.values())
            return _volume_info(pool, found), ""
        if head == "volume heal":
            return _heal_info(_volume(pool, words[2])), ""
        return "", self._change(pool, head, words)

    def _pool_list(self, pool: Pool) -> str:
        rows = []
        for member in pool.members:
            if member is not self._daemon:
                up = int(member.running and member.reachable)
                names = "".join(f"<hostname>{name}</hostname>" for name in member.hostnames)
                rows.append(
                    f"<peer><uuid>{member.uuid}</uuid><hostname>{member.hostnames[0]}</hostname>"
                    f"<hostnames>{names}</hostnames><connected>{up}</connected><state>3</state>"
                    "<stateStr>Peer in Cluster</stateStr></peer>"
                )
        own = f"<peer><uuid>{self._daemon.uuid}</uuid><hostname>localhost</hostname><connected>1</connected></peer>"
        return f"<peerStatus>{''.join(rows)}{own}</peerStatus>"

    def _probe(self, pool: Pool, hostname: str) -> str:
        if hostname == "localhost" or hostname in self._daemon.hostnames:
            return "Probe on localhost not needed"
        if any(hostname in member.hostnames for member in pool.members):
            return f"Host {hostname} port 24007 already in peer list"
        newcomer = self._network.reachable(hostname)
        if newcomer is None:
            raise GlusterError(_PROBE_FAILED, number=107)
        if len(newcomer.pool.members) > 1:
            raise GlusterError(f"{hostname} is either already part of another cluster or having volumes configured")
        if newcomer.pool.volumes:
            raise GlusterError(f"{hostname} is either already part of another cluster or having volumes configured")
        join(pool, newcomer)
        return "success"

    def _detach(self, pool: Pool, hostname: str) -> None:
        peer = next((each for each in pool.members if hostname in each.hostnames and each is not self._daemon), None)
        if peer is None:
            raise GlusterError(f"{hostname} is not part of cluster", number=2)
        if any(peer.owns(brick) for volume in pool.volumes.values() for brick in volume.bricks):
            raise GlusterError(_HOSTS_BRICKS.format(hostname), result=1, number=3)
        pool.members.remove(peer)
        peer.pool = Pool([peer])

    def _change(self, pool: Pool, head: str, words: list[str]) -> str:
        if head not in {f"volume {verb}" for verb in ("create", "add-brick", "set", "start", "stop", "delete")}:
            raise GlusterError(f"unrecognized word: {words[1]} (position 1)")
        name = words[2]
        if pool.locked_by:
            raise GlusterError(
                f"Another transaction is in progress for {name}. Please try again after some time.", number=30802
            )
        if head == "volume create":
            return self._create(pool, name, words[3:])
        volume = _volume(pool, name)
        if head == "volume add-brick":
            volume.bricks += self._claim(pool, words[3:])
        elif head == "volume set":
            volume.options.update(zip(words[3::2], words[4::2], strict=True))
            return "volume set: success\n"
        elif head == "volume start":
            _start(pool, volume)
        elif head == "volume stop":
            _stop(pool, volume)
        else:
            self._delete(pool, volume)
        return f"{head}: {name}: success\n"

    def _create(self, pool: Pool, name: str, words: list[str]) -> str:
        if name in pool.volumes:
            raise GlusterError(f"Volume {name} already exists")
        first = next((index for index, word in enumerate(words) if ":/" in word), len(words))
        bricks = self._claim(pool, words[first:])
        pool.volumes[name] = Volume(name, str(uuid.uuid4()), tuple(words[:first]), bricks)
        return f"volume create: {name}: success: please start the volume to access data\n"

    def _claim(self, pool: Pool, bricks: list[str]) -> list[str]:
        taken = {brick for volume in pool.volumes.values() for brick in volume.bricks}
        for brick in bricks:
            path = brick.partition(":")[2]
            member = self._network.of_brick(pool, brick)
            if brick in taken:
                raise GlusterError(
                    f"Brick: {brick} not available. Brick may be containing or be contained by an existing brick."
                )
            parent = path.rpartition("/")[0]
            if member.machine.directory(parent) is None:
                raise GlusterError(
                    f"Failed to create brick directory for brick {brick}. Reason : No such file or directory "
                )
            if not any(entry.mount_point == parent for entry in member.machine.mounts):
                raise GlusterError(
                    f"The brick {brick} is being created in the root partition. It is recommended that you don't use "
                    "the system's root partition for storage backend. Or use 'force' at the end of the command if you "
                    "want to override this behavior."
                )
            with member.machine.lock:
                tree, inner = member.machine.place(path)
                tree.directories.setdefault(inner, Directory())
        return bricks

    def _delete(self, pool: Pool, volume: Volume) -> None:
        if volume.status == 1:
            raise GlusterError(f"Volume {volume.name} has been started.Volume needs to be stopped before deletion.")
        down = [member for member in pool.members if not (member.running and member.reachable)]
        if down:
            raise GlusterError("Some of the peers are down")
        del pool.volumes[volume.name]


def _volume(pool: Pool, name: str) -> Volume:
    volume = pool.volumes.get(name)
    if volume is None:
        raise GlusterError(f"Volume {name} does not exist")
    return volume


def _start(pool: Pool, volume: Volume) -> None:
    if volume.status == 1:
        raise GlusterError(f"Volume {volume.name} already started")
    volume.status = 1
    hold_bricks(pool, volume)


def _stop(pool: Pool, volume: Volume) -> None:
    if volume.status != 1:
        raise GlusterError(f"Volume {volume.name} is not in the started state")
    volume.status = 2
    for member, mount_point in _brick_mounts(pool, volume):
        member.machine.busy.discard(mount_point)


def hold_bricks(pool: Pool, volume: Volume) -> None:
    """Lets the brick processes of a volume keep their file systems busy."""
    for member, mount_point in _brick_mounts(pool, volume):
        member.machine.busy.add(mount_point)


def _brick_mounts(pool: Pool, volume: Volume) -> list[tuple[Glusterd, str]]:
    return [
        (member, brick.partition(":")[2].rpartition("/")[0])
        for brick in volume.bricks
        for member in pool.members
        if member.owns(brick)
    ]


def _xml(head: str, error: str, body: str = "") -> str:
    text = f"<opErrstr>{escape(error)}</opErrstr>" if error else "<opErrstr/>"
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<cliOutput>{head}{text}{body}</cliOutput>\n'


def _volume_info(pool: Pool, volumes: list[Volume]) -> str:
    rows = "".join(_volume_row(pool, volume) for volume in volumes)
    return f"<volInfo><volumes>{rows}<count>{len(volumes)}</count></volumes></volInfo>"


def _volume_row(pool: Pool, volume: Volume) -> str:
    uuids = {brick: member.uuid for member in pool.members for brick in volume.bricks if member.owns(brick)}
    bricks = "".join(
        f'<brick uuid="{uuids.get(brick, "")}">{brick}<name>{brick}</name>'
        f"<hostUuid>{uuids.get(brick, '')}</hostUuid><isArbiter>0</isArbiter></brick>"
        for brick in volume.bricks
    )
    options = "".join(
        f"<option><name>{escape(key)}</name><value>{escape(value)}</value></option>"
        for key, value in volume.options.items()
    )
    return (
        f"<volume><name>{volume.name}</name><id>{volume.uuid}</id><status>{volume.status}</status>"
        f"<statusStr>{('Created', 'Started', 'Stopped')[volume.status]}</statusStr><snapshotCount>0</snapshotCount>"
        f"<brickCount>{len(volume.bricks)}</brickCount><bricks>{bricks}</bricks>"
        f"<optCount>{len(volume.options)}</optCount><options>{options}</options></volume>"
    )


def _heal_info(volume: Volume) -> str:
    rows = "".join(
        f"<brick><name>{brick}</name><status>Connected</status>"
        f"<numberOfEntries>{volume.heal_entries.get(brick, 0)}</numberOfEntries></brick>"
        for brick in volume.bricks
    )
    return f"<healInfo><bricks>{rows}</bricks></healInfo>"

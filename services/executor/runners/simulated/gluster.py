"""The gluster program of a simulated node: words in, text or XML out. Memory only."""

import uuid
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from services.executor.runners.simulated import removals, replacements, snapshots
from services.executor.runners.simulated.machine import Directory
from services.executor.runners.simulated.pools import (
    Glusterd,
    GlusterError,
    Network,
    Pool,
    Volume,
    find_volume,
    hold_bricks,
    join,
    start,
    stop,
)

Outcome = tuple[int, str, str]
_WELCOME = "Welcome to gluster prompt, type 'help' to see the available commands.\n"
_NO_DAEMON = "Connection failed. Please check if gluster daemon is operational.\n"
_VERSION = "glusterfs 10.3\nRepository revision: git://git.gluster.org/glusterfs.git\n"
_VERBS = frozenset(
    f"volume {verb}"
    for verb in (
        *(
            "create",
            "add-brick",
            "remove-brick",
            "replace-brick",
            "rebalance",
            "heal",
            "set",
            "start",
            "stop",
            "delete",
        ),
    )
)
_PROBE_FAILED = "Probe returned with Transport endpoint is not connected"
_HOSTS_BRICKS = (
    "Peer {} hosts one or more bricks. If the peer is in not recoverable state then use either replace-brick or "
    "remove-brick command with force to remove all bricks from the peer and attempt the peer detach again."
)
_NOT_COMMITTED = "Commit failed on localhost. Please check the log file for more details."
# Commands whose failure names the volume.
_NAMING = frozenset(f"volume {verb}" for verb in ("create", "start", "stop", "delete", "rebalance"))


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
            if head.startswith("snapshot "):
                return 1, "Snapshot command failed\n", f"{head}: failed: {error.text}\n"
            if head == "volume remove-brick":
                head = f"{head} {words[-1]}"
            name = f" {words[2]}:" if head in _NAMING else ""
            return 1, "", f"{head}:{name} failed: {error.text}\n"
        return 0, _xml("<opRet>0</opRet><opErrno>0</opErrno>", "", body) if xml else text, ""

    def _perform(self, head: str, words: list[str]) -> tuple[str, str]:
        """The XML of a question, or the text of a change."""
        pool = self._daemon.pool
        if head == "peer probe":
            return f"<output>{self._probe(pool, words[2])}</output>", "peer probe: success\n"
        if head == "peer detach":
            self._detach(pool, words[2], force=words[-1] == "force")
            return "<output>success</output>", "peer detach: success\n"
        asked = self._ask(pool, head, words)
        return (asked, "") if asked is not None else ("", self._change(pool, head, words))

    def _ask(self, pool: Pool, head: str, words: list[str]) -> str | None:
        """The answer to a question; None when it is none."""
        if head == "volume remove-brick" and words[-1] == "status":
            head = "volume remove-brick status"
        if head == "volume heal" and words[-1] != "info":
            return None
        questions: dict[str, Callable[[], str]] = {
            "pool list": lambda: self._pool_list(pool),
            "volume info": lambda: _volume_info(
                pool, [find_volume(pool, words[2])] if len(words) > 2 else list(pool.volumes.values())
            ),
            "volume heal": lambda: replacements.heal_info(pool, find_volume(pool, words[2])),
            "volume status": lambda: _tasks(pool, find_volume(pool, words[2])),
            "volume remove-brick status": lambda: removals.status(pool, find_volume(pool, words[2]), words[3:-1]),
            "snapshot info": lambda: snapshots.info(pool, *words[2:]),
        }
        return questions[head]() if head in questions else None

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
        newcomer = self._network.newcomer(pool, hostname)
        if newcomer is None:
            raise GlusterError(_PROBE_FAILED, number=107)
        if len(newcomer.pool.members) > 1:
            raise GlusterError(f"{hostname} is either already part of another cluster or having volumes configured")
        if newcomer.pool.volumes:
            raise GlusterError(f"{hostname} is either already part of another cluster or having volumes configured")
        join(pool, newcomer)
        return "success"

    def _detach(self, pool: Pool, hostname: str, *, force: bool) -> None:
        peer = next((each for each in pool.members if hostname in each.hostnames and each is not self._daemon), None)
        if peer is None:
            raise GlusterError(f"{hostname} is not part of cluster", number=2)
        if any(peer.owns(brick) for volume in pool.volumes.values() for brick in volume.bricks):
            raise GlusterError(_HOSTS_BRICKS.format(hostname), result=1, number=3)
        others = [each for each in pool.members if each is not peer]
        if not force and not all(each.running and each.reachable for each in others):
            raise GlusterError("One of the peers is probably down. Check with 'peer status'", result=1, number=4)
        pool.members.remove(peer)
        peer.pool = Pool([peer])

    def _change(self, pool: Pool, head: str, words: list[str]) -> str:
        if head not in snapshots.VERBS and head not in _VERBS:
            raise GlusterError(f"unrecognized word: {words[1]} (position 1)")
        pool.refuse_if_locked(words[2])
        if head in snapshots.VERBS:
            return snapshots.VERBS[head](pool, *words[2:])
        if head == "volume create":
            return self._create(pool, words[2], words[3:])
        volume = find_volume(pool, words[2])
        changes: dict[str, Callable[[], str | None]] = {
            "volume add-brick": lambda: self._add_bricks(pool, volume, words[3:]),
            "volume remove-brick": lambda: removals.remove(pool, volume, words[3:-1], words[-1]),
            "volume rebalance": lambda: removals.rebalance(volume, words[3]),
            "volume replace-brick": lambda: replacements.replace(self._network, pool, volume, words[3:5]),
            "volume heal": lambda: replacements.heal(volume, everything=words[-1] == "full"),
            "volume set": lambda: _set(volume, words[3:]),
            "volume start": lambda: start(pool, volume, force="force" in words[3:]),
            "volume stop": lambda: stop(pool, volume),
            "volume delete": lambda: _delete(pool, volume),
        }
        return changes[head]() or f"{head}: {volume.name}: success\n"

    def _add_bricks(self, pool: Pool, volume: Volume, bricks: list[str]) -> str:
        removals.refuse_while_moving(volume)
        volume.bricks += self._claim(pool, bricks)
        pool.note_bricks(volume)
        if volume.status == 1:
            hold_bricks(pool, volume)
        return "volume add-brick: success\n"

    def _create(self, pool: Pool, name: str, words: list[str]) -> str:
        if name in pool.volumes:
            raise GlusterError(f"Volume {name} already exists")
        first = next((index for index, word in enumerate(words) if ":/" in word), len(words))
        bricks = self._claim(pool, words[first:])
        volume = pool.volumes[name] = Volume(name, str(uuid.uuid4()), tuple(words[:first]), bricks)
        pool.note_bricks(volume)
        return f"volume create: {name}: success: please start the volume to access data\n"

    def _claim(self, pool: Pool, bricks: list[str]) -> list[str]:
        for brick in bricks:
            path = brick.partition(":")[2]
            member = self._network.of_brick(pool, brick)
            if pool.volume_with(brick) is not None:
                raise GlusterError(
                    f"Brick: {brick} not available. Brick may be containing or be contained by an existing brick."
                )
            parent = path.rpartition("/")[0]
            if member.machine.directory(parent) is None:
                raise GlusterError(
                    f"Failed to create brick directory for brick {brick}. Reason : No such file or directory "
                )
            if not member.machine.mounts.at(parent):
                raise GlusterError(
                    f"The brick {brick} is being created in the root partition. It is recommended that you don't use "
                    "the system's root partition for storage backend. Or use 'force' at the end of the command if you "
                    "want to override this behavior."
                )
            with member.machine.lock:
                tree, inner = member.machine.place(path)
                tree.directories.setdefault(inner, Directory())
        return bricks


def _set(volume: Volume, words: list[str]) -> str:
    if volume.pieces and volume.status == 0 and volume.set_size > 1:
        # As seen: a replicated copy lacks a file of the self-heal daemon until it is started.
        raise GlusterError(_NOT_COMMITTED)
    volume.options.update(zip(words[::2], words[1::2], strict=True))
    return "volume set: success\n"


def _tasks(pool: Pool, volume: Volume) -> str:
    pool.refuse_if_locked(volume.name)
    if volume.status != 1:
        raise GlusterError(f"Volume {volume.name} is not started")
    return f"<volStatus><volumes><volume><volName>{volume.name}</volName><tasks/></volume></volumes></volStatus>"


def _delete(pool: Pool, volume: Volume) -> None:
    if volume.status == 1:
        raise GlusterError(f"Volume {volume.name} has been started.Volume needs to be stopped before deletion.")
    taken = sum(snapshot.source == volume.name for snapshot in pool.snapshots.values())
    if taken:
        raise GlusterError(
            f"Cannot delete Volume {volume.name} ,as it has {taken} snapshots. To delete the volume, first delete "
            "all the snapshots under it."
        )
    down = [member for member in pool.members if not (member.running and member.reachable)]
    if down:
        raise GlusterError("Some of the peers are down")
    del pool.volumes[volume.name]
    for brick in volume.bricks:
        pool.brick_users.pop(brick, None)


def _xml(head: str, error: str, body: str = "") -> str:
    text = f"<opErrstr>{escape(error)}</opErrstr>" if error else "<opErrstr/>"
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<cliOutput>{head}{text}{body}</cliOutput>\n'


def _volume_info(pool: Pool, volumes: list[Volume]) -> str:
    rows = "".join(_volume_row(pool, volume) for volume in volumes)
    return f"<volInfo><volumes>{rows}<count>{len(volumes)}</count></volumes></volInfo>"


def _type_of(volume: Volume) -> str:
    kind = {"replica": "Replicate", "disperse-data": "Disperse"}.get(
        volume.words[0] if volume.words else "", "Distribute"
    )
    spread = kind != "Distribute" and len(volume.bricks) > volume.set_size
    return f"Distributed-{kind}" if spread else kind


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
        f"<typeStr>{_type_of(volume)}</typeStr><brickCount>{len(volume.bricks)}</brickCount><bricks>{bricks}</bricks>"
        f"<optCount>{len(volume.options)}</optCount><options>{options}</options></volume>"
    )

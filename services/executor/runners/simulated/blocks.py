"""The gluster-block program of a simulated node: words in, JSON out, as version 0.5 writes it. Memory only."""

import errno
import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from services.executor.runners.simulated.pools import Block, Glusterd, Network, Pool

Outcome = tuple[int, str, str]
# Where distributions put it.
PROGRAM_PATH = "/usr/sbin/gluster-block"
_IQN = "iqn.2016-12.org.gluster-block:"
_DEFAULT_ERROR = 255
_PORT = 3260
_GIB_PER_TIB = 1024


class _FailedError(Exception):
    """What the command fails with."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number
        self.text = text


class GlusterBlockCli:
    """The gluster-block program on one machine.

    Args:
        daemon: Its glusterd, with whose pool it works.
        network: Whom it reaches.
    """

    def __init__(self, daemon: Glusterd, network: Network) -> None:
        self._daemon = daemon
        self._network = network

    def run(self, argv: "list[str] | tuple[str, ...]") -> Outcome:
        """Runs one process; `argv` has the program first."""
        words = [word for word in argv[1:] if word != "--json"]
        if not self._daemon.running:
            return 255, "", "Connection failed. Please check if gluster-block daemon is operational.\n"
        verbs: Mapping[str, Callable[[Pool, list[str]], dict[str, Any]]] = {
            "create": self._create,
            "modify": self._resize,
            "delete": self._delete,
            "info": self._info,
            "list": self._list,
        }
        if words[0] not in verbs:
            return errno.EINVAL, "", f"Unknown option: {words[0]}\n"
        try:
            with self._network.lock:
                answer = verbs[words[0]](self._daemon.pool, words[1:])
        except _FailedError as error:
            answer = {"RESULT": "FAIL", "errCode": error.number, "errMsg": error.text}
            return error.number, f"{json.dumps(answer)}\n", ""
        code = _DEFAULT_ERROR if answer.get("RESULT") == "FAIL" else 0
        return code, f"{json.dumps(answer)}\n", ""

    @staticmethod
    def _hosting(pool: Pool, name: str) -> None:
        volume = pool.volumes.get(name)
        if volume is None:
            raise _FailedError(_DEFAULT_ERROR, f"Volume {name} does not exist")
        if volume.status != 1:
            raise _FailedError(errno.ENODEV, f"Volume {name} is not in started state")

    def _block(self, pool: Pool, place: str) -> Block:
        hosting, _, name = place.partition("/")
        self._hosting(pool, hosting)
        found = pool.blocks.get((hosting, name))
        if found is None:
            raise _FailedError(errno.ENOENT, f"block {place} doesn't exist")
        return found

    def _refuse_unreachable(self, hosts: list[str]) -> None:
        down = [host for host in hosts if self._network.reachable(host) is None]
        if down:
            raise _FailedError(_DEFAULT_ERROR, f"failed to configure on {' '.join(down)} : Connection refused")

    def _create(self, pool: Pool, words: list[str]) -> dict[str, Any]:
        hosting, _, name = words[0].partition("/")
        options = dict(zip(words[1:-2:2], words[2:-2:2], strict=True))
        hosts = words[-2].split(",")
        self._hosting(pool, hosting)
        if int(options["ha"]) > len(hosts):
            raise _FailedError(errno.ENODEV, f"multipath req: {options['ha']} > block-hosts: {words[-2]}\n")
        if (hosting, name) in pool.blocks:
            raise _FailedError(errno.EEXIST, f"BLOCK with name: '{name}' already EXIST\n")
        self._refuse_unreachable(hosts)
        password = str(uuid.UUID(bytes=secrets.token_bytes(16))) if options["auth"] == "enable" else ""
        block = Block(name, hosting, str(uuid.uuid4()), _gib(words[-1]), hosts, password)
        pool.blocks[hosting, name] = block
        login = {"USERNAME": block.gbid, "PASSWORD": password} if password else {}
        portals = [f"{host}:{_PORT}" for host in hosts]
        return {"IQN": f"{_IQN}{block.gbid}", **login, "PORTAL(S)": portals, "RESULT": "SUCCESS"}

    def _resize(self, pool: Pool, words: list[str]) -> dict[str, Any]:
        block, wanted = self._block(pool, words[0]), _gib(words[-1])
        if wanted == block.size_gib and not block.resize_failed:
            raise _FailedError(
                _DEFAULT_ERROR, f"request size ({_shown(wanted)}) is same as current size ({_shown(wanted)}) ]"
            )
        if wanted < block.size_gib:
            raise _FailedError(
                _DEFAULT_ERROR,
                f"Shrink size ?\nuse 'force' option [current size {_shown(block.size_gib)}, "
                f"request size {_shown(wanted)}]",
            )
        before, block.size_gib = block.size_gib, wanted
        failing = [host for host in block.hosts if host in pool.block_resize_fails_on]
        block.resize_failed = {host: block.resize_failed.get(host, before) for host in failing}
        done = [host for host in block.hosts if host not in failing]
        parts = {"SUCCESSFUL ON": done} if done else {}
        if failing:
            return {"IQN": f"{_IQN}{block.gbid}", "FAILED ON": failing, **parts, "RESULT": "FAIL"}
        return {"IQN": f"{_IQN}{block.gbid}", "SIZE": _shown(wanted), **parts, "RESULT": "SUCCESS"}

    def _delete(self, pool: Pool, words: list[str]) -> dict[str, Any]:
        block = self._block(pool, words[0])
        self._refuse_unreachable(block.hosts)
        del pool.blocks[block.hosting, block.name]
        return {"SUCCESSFUL ON": block.hosts, "RESULT": "SUCCESS"}

    def _info(self, pool: Pool, words: list[str]) -> dict[str, Any]:
        block = self._block(pool, words[0])
        told: dict[str, Any] = {
            "NAME": block.name,
            "VOLUME": block.hosting,
            "GBID": block.gbid,
            "SIZE": _shown(block.size_gib),
            "HA": len(block.hosts),
            "IOTIMEOUT": "43 Seconds",
            "PASSWORD": block.password,
            "EXPORTED ON": block.hosts,
        }
        if block.resize_failed:
            told["RESIZE FAILED ON"] = {host: _shown(size) for host, size in block.resize_failed.items()}
        return told

    def _list(self, pool: Pool, words: list[str]) -> dict[str, Any]:
        self._hosting(pool, words[0])
        return {"blocks": [name for hosting, name in pool.blocks if hosting == words[0]], "RESULT": "SUCCESS"}


def _gib(word: str) -> int:
    return int(word.removesuffix("GiB"))


def _shown(size_gib: int) -> str:
    """A size as the program writes it: one decimal, in the largest unit."""
    if size_gib >= _GIB_PER_TIB:
        return f"{size_gib / _GIB_PER_TIB:.1f} TiB"
    return f"{size_gib:.1f} GiB"

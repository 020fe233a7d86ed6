"""Commands and files of the node that an agent is put on. Effects: SSH."""

from collections.abc import Sequence

from services.common.errors import InternalError, UnavailableError
from services.common.reasons import Reason
from services.common.ssh import SshLostError, SshSession
from services.common.ssh_shell import SshResult

_ENVIRONMENT = {
    "LC_ALL": "C",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
}
TIMEOUT_S = 60.0
# Compares first: a second deployment should tell what it changed.
_WRITE = """
set -e
new="$1.new"; umask 077; cat >"$new"; chmod "$2" "$new"
if cmp -s "$new" "$1" && [ "$(stat -c %a "$1")" = "$2" ]; then rm -f "$new"; echo same; exit; fi
sync "$new"; mv -f "$new" "$1"; echo changed
"""


class NodeShell:
    """Runs commands on a node until one fails.

    Args:
        session: The connection.
    """

    def __init__(self, session: SshSession) -> None:
        self.session = session

    def attempt(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = TIMEOUT_S, as_user: bool = False
    ) -> SshResult:
        """Runs a command, whatever its exit code.

        Raises:
            UnavailableError: AGENT_UNREACHABLE, no connection, or it broke.
        """
        try:
            return self.session.run(argv, environment=_ENVIRONMENT, stdin=stdin, timeout_s=timeout_s, as_user=as_user)
        except SshLostError as error:
            raise UnavailableError(
                Reason.AGENT_UNREACHABLE, f"{error}; run the same command again, it goes on where it stopped"
            ) from error

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = TIMEOUT_S, as_user: bool = False
    ) -> str:
        """What a command writes.

        Raises:
            InternalError: It failed; with its own words.
            UnavailableError: AGENT_UNREACHABLE, no connection, or it broke.
        """
        result = self.attempt(argv, stdin=stdin, timeout_s=timeout_s, as_user=as_user)
        text = result.stdout.decode(errors="replace")
        if result.exit_code != 0:
            words = result.stderr.decode(errors="replace").strip() or text.strip() or f"exit code {result.exit_code}"
            raise InternalError(Reason.INTERNAL, f"{self.session.target.host}: {' '.join(argv[:2])}: {words}")
        return text

    def script(self, script: str, *arguments: str, stdin: bytes = b"", timeout_s: float = TIMEOUT_S) -> str:
        """What a shell script writes; arguments are positional. Errors as of `run`."""
        return self.run(["sh", "-c", script, "sh", *arguments], stdin=stdin, timeout_s=timeout_s)

    def holds(self, script: str, *arguments: str) -> bool:
        """Whether a shell script succeeds."""
        return self.attempt(["sh", "-c", script, "sh", *arguments]).exit_code == 0

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> bool:
        """Replaces a file in one go; tells whether it is another one than before."""
        return self.script(_WRITE, path, f"{mode:o}", stdin=content).strip() == "changed"

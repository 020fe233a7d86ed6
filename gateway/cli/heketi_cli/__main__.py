"""`heketi-cli`: reads the command line, runs the command, and tells what went wrong as Heketi's client does."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from gateway.cli.heketi_cli.arguments import PROGRAM, Command, Flag, Parsed, UsageFault, help_text, parse
from gateway.cli.heketi_cli.call import Call
from gateway.cli.heketi_cli.client import Client, Server, ServerFault
from gateway.cli.heketi_cli.clusters import CLUSTER
from gateway.cli.heketi_cli.members import BRICK, DEVICE, NODE
from gateway.cli.heketi_cli.server import DB, LOG_LEVEL, SERVER
from gateway.cli.heketi_cli.storage import STORAGE
from gateway.cli.heketi_cli.topology import TOPOLOGY
from gateway.cli.heketi_cli.volumes import BLOCK_VOLUME, VOLUME

_DEFAULT_SERVER = "http://localhost:8080"
# Go's exit(-1).
EXIT_FAILED = 255
_EXIT_INTERRUPTED = 130

GLOBAL_FLAGS = (
    Flag(
        "server",
        "string",
        "\n\tHeketi server. Can also be set using the\n\tenvironment variable HEKETI_CLI_SERVER"
        f" (the default one is {_DEFAULT_SERVER})",
        short="s",
    ),
    Flag(
        "secret",
        "string",
        "\n\tSecret key for specified user.  Can also be\n\tset using the environment variable HEKETI_CLI_KEY",
    ),
    Flag("user", "string", "\n\tHeketi user.  Can also be set using the\n\tenvironment variable HEKETI_CLI_USER"),
    Flag("json", "bool", "\n\tPrint response as JSON", default=False),
    Flag(
        "insecure-tls",
        "bool",
        "\n\tIf using TLS (HTTPS) do not verify server certificates (insecure)",
        default=False,
        short="I",
    ),
    Flag(
        "tls-cert",
        "list",
        "\n\tIf using TLS (HTTPS), specify a certificate file that can be used to verify"
        "\n\tthe TLS connection (can be repeated)",
        default=(),
        short="C",
    ),
)

ROOT = Command(
    PROGRAM,
    "Command line program for Heketi",
    flags=(Flag("version", "bool", "\n\tPrint version", default=False, short="v"),),
    commands=(BLOCK_VOLUME, BRICK, CLUSTER, DB, DEVICE, LOG_LEVEL, NODE, SERVER, STORAGE, TOPOLOGY, VOLUME),
    example=f"  $ export HEKETI_CLI_SERVER={_DEFAULT_SERVER} HEKETI_CLI_USER=admin HEKETI_CLI_KEY=...\n"
    "  $ heketi-cli volume list",
)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code: 0 done, 255 any failure, 130 interrupted."""
    try:
        parsed = parse(ROOT, GLOBAL_FLAGS, argv)
        return _run(parsed)
    except (UsageFault, ServerFault) as fault:
        sys.stdout.flush()
        sys.stderr.write(f"Error: {fault}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what the server has begun goes on: heketi-cli server operations list\n")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def _run(parsed: Parsed) -> int:
    command = parsed.command
    if command is ROOT and parsed.flags["version"]:
        sys.stdout.write(f"{PROGRAM} {version('brickyard')}\n")
        return 0
    if parsed.flags["help"]:
        sys.stdout.write(help_text(parsed.path, GLOBAL_FLAGS))
        return 0
    if command is ROOT and parsed.arguments:
        raise UsageFault(
            f'unknown command "{parsed.arguments[0]}" for "{PROGRAM}"\nRun \'{PROGRAM} --help\' for usage.'
        )
    if command.run is None:
        # Heketi's client: without any argument to stderr, as it does nothing; a group tells what it has.
        (sys.stderr if command is ROOT else sys.stdout).write(help_text(parsed.path, GLOBAL_FLAGS))
        return 0
    with Client(_server(parsed)) as client:
        command.run(Call(client, parsed.arguments, parsed.flags))
    return 0


def _server(parsed: Parsed) -> Server:
    def setting(flag: str, variable: str) -> str:
        return parsed.flags[flag] or os.environ.get(variable, "")

    return Server(
        url=setting("server", "HEKETI_CLI_SERVER") or _DEFAULT_SERVER,
        user=setting("user", "HEKETI_CLI_USER"),
        secret=setting("secret", "HEKETI_CLI_KEY"),
        insecure=parsed.flags["insecure-tls"],
        certificates=tuple(parsed.flags["tls-cert"]),
    )


if __name__ == "__main__":
    main()

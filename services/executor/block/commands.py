"""Command lines of gluster-block. Pure. No secret is ever in one of them: gluster-block makes the passwords itself."""

from collections.abc import Sequence

from services.common.units import GIB

PROGRAM = "gluster-block"
# Filling a large file takes long; as for gluster's own changes.
TIMEOUT_S = 660.0
READ_TIMEOUT_S = 60.0
FULL = "full"
PREALLOCATIONS = (FULL, "no")


def create(hosting: str, name: str, *, hosts: Sequence[str], auth: bool, prealloc: str, size_bytes: int) -> list[str]:
    """Makes a block volume; every host named exports it."""
    return [
        *(PROGRAM, "create", f"{hosting}/{name}"),
        *("ha", str(len(hosts)), "auth", "enable" if auth else "disable", "prealloc", prealloc),
        *(",".join(hosts), _size(size_bytes), "--json"),
    ]


def resize(hosting: str, name: str, size_bytes: int) -> list[str]:
    """Makes a block volume larger."""
    return [PROGRAM, "modify", f"{hosting}/{name}", "size", _size(size_bytes), "--json"]


def delete(hosting: str, name: str) -> list[str]:
    """Removes a block volume and its data."""
    return [PROGRAM, "delete", f"{hosting}/{name}", "--json"]


def info(hosting: str, name: str) -> list[str]:
    """Describes a block volume, its password included."""
    return [PROGRAM, "info", f"{hosting}/{name}", "--json"]


def list_names(hosting: str) -> list[str]:
    """Lists the block volumes of a hosting volume."""
    return [PROGRAM, "list", hosting, "--json"]


def _size(size_bytes: int) -> str:
    return f"{size_bytes // GIB}GiB"

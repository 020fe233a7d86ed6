"""Small files that must be whole or not there at all. Effects: files."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replaces a file, or makes it, in one go; after a crash there is the old or the new one.

    Args:
        path: The file; its directory must exist.
        content: All of it.
        mode: Its permissions from the first moment on.

    Raises:
        OSError: It cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


def sync_directory(path: str | Path) -> None:
    """Writes a directory to disk, so that a power cut takes none of the names in it.

    Raises:
        OSError: It is not there, or cannot be written.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

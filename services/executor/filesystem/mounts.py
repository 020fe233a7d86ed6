"""The kernel's mount table, mount options, and the agent's own mount table file. Pure."""

import re
from collections.abc import Callable, Iterable

from services.common.reasons import Reason
from services.executor.reading import reads
from services.executor.runners.base import Mount

# From the kernel's mount(2) interface; every other option is the file system's own.
_FLAGS = {
    "ro": 0x1,
    "nosuid": 0x2,
    "nodev": 0x4,
    "noexec": 0x8,
    "sync": 0x10,
    "dirsync": 0x80,
    "noatime": 0x400,
    "nodiratime": 0x800,
    "relatime": 0x200000,
    "strictatime": 0x1000000,
    "lazytime": 0x2000000,
}
# Said by default, or words for mount(8) and for boot scripts only.
_SILENT = frozenset({"rw", "defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "suid", "dev", "exec"})
_OCTAL = re.compile(r"\\([0-7]{3})")
# Heketi's two last fields: dump, then the order of checks.
_TAIL = "1 2"


def _unescaped(field: str) -> str:
    if "\\" not in field:
        return field
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _escaped(field: str) -> str:
    return "".join(f"\\{ord(letter):03o}" if letter in " \t\n\\" else letter for letter in field)


def kernel_flags(options: str) -> tuple[int, str]:
    """Splits mount options into the flags and the data of mount(2)."""
    words = [word for word in options.split(",") if word and word not in _SILENT and not word.startswith("x-")]
    flags = 0
    for word in words:
        flags |= _FLAGS.get(word, 0)
    return flags, ",".join(word for word in words if word not in _FLAGS)


@reads(Reason.FILESYSTEM_FAILED, "the kernel's mount table")
def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """The mounts in /proc/PID/mountinfo, in the order of mounting; options of the mount, then of the file system.

    Raises:
        InternalError: FILESYSTEM_FAILED, a line is not of its form.
    """
    found = []
    for line in text.splitlines():
        fields = line.split()
        dash = fields.index("-")
        kind, source, own = fields[dash + 1 : dash + 4]
        options = list(dict.fromkeys([*fields[5].split(","), *own.split(",")]))
        found.append(Mount(_unescaped(source), _unescaped(fields[4]), kind, ",".join(options)))
    return tuple(found)


def find_mount(text: str, mount_point: str) -> Mount | None:
    """As `mounted_at` in all of /proc/PID/mountinfo; of a node with thousands of bricks only its own lines are read.

    Raises:
        InternalError: FILESYSTEM_FAILED, such a line is not of its form.
    """
    word = f" {_escaped(mount_point)} "
    return mounted_at(parse_mountinfo("\n".join(line for line in text.splitlines() if word in line)), mount_point)


def parse_fstab(text: str | None) -> tuple[Mount, ...]:
    """The entries of a mount table file; comments and lines with fewer than four fields are no entries."""
    found = []
    for line in (text or "").splitlines():
        fields = line.split()
        if len(fields) >= 4 and not fields[0].startswith("#"):
            found.append(Mount(*(_unescaped(field) for field in fields[:4])))
    return tuple(found)


def lists(text: str | None, mount_point: str) -> bool:
    """Whether a mount table file has an entry for a mount point."""
    return bool(_spans(text or "", lambda entry: entry.mount_point == mount_point, mount_point))


def _spans(text: str, wanted: Callable[[Mount], bool], *words: str) -> list[tuple[int, int]]:
    """Where the lines of wanted entries are, which have one of the words in them; the end is behind the line's.

    Nodes have thousands of bricks, so that lines without any of the words are not looked at.
    """
    # With a backslash in the file, a field may be written in other letters than the word.
    sought = words if "\\" not in text else ("",)
    found = set()
    for word in sought:
        at = text.find(word)
        while 0 <= at < len(text):
            start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at) + 1 or len(text)
            if any(map(wanted, parse_fstab(text[start:end]))):
                found.add((start, end))
            at = text.find(word, end)
    return sorted(found)


def fstab_line(entry: Mount) -> str:
    """An entry as a line, without line end."""
    fields = (entry.source, entry.mount_point, entry.filesystem, entry.options)
    return f"{' '.join(_escaped(field) for field in fields)} {_TAIL}"


def with_entry(text: str | None, entry: Mount) -> str:
    """The file with an entry, instead of others for the same mount point; all other lines stay as they are."""
    kept = _without(
        text or "", _spans(text or "", lambda other: other.mount_point == entry.mount_point, entry.mount_point)
    )
    return f"{kept}{fstab_line(entry)}\n"


def without_entries(text: str | None, *, source: str, mount_point: str) -> str | None:
    """The file without the entries of a brick; None when there were none, so that nothing needs to be written."""
    spans = _spans(
        text or "", lambda other: other.source == source or other.mount_point == mount_point, source, mount_point
    )
    return _without(text or "", spans) if spans else None


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text without some of its lines; the last line has an end."""
    pieces, at = [], 0
    for start, end in spans:
        pieces.append(text[at:start])
        at = end
    kept = "".join([*pieces, text[at:]])
    return kept if not kept or kept.endswith("\n") else f"{kept}\n"


def mounted_at(mounts: Iterable[Mount], mount_point: str) -> Mount | None:
    """What is mounted on a directory, the topmost if several; None when nothing is."""
    found = [entry for entry in mounts if entry.mount_point == mount_point]
    return found[-1] if found else None

"""The kernel's mount table of a simulated node, which is searched at every look at a path. Memory only."""

from collections import Counter
from collections.abc import Iterable, Iterator, MutableSequence
from typing import overload

from services.executor.runners.base import Mount


class MountTable(MutableSequence[Mount]):
    """Mounts in the order of mounting, with an index of the mount points."""

    def __init__(self, mounts: Iterable[Mount] = ()) -> None:
        self._entries = list(mounts)
        # How often something was mounted: later mounts cover earlier ones.
        self._count = 0
        self._by_point: dict[str, list[tuple[int, Mount]]] = {}
        self._sources: Counter[str] = Counter()
        self._index()

    def _index(self) -> None:
        self._by_point = {}
        self._sources.clear()
        for entry in self._entries:
            self._note(entry)

    def _note(self, entry: Mount) -> None:
        self._count += 1
        self._by_point.setdefault(entry.mount_point, []).append((self._count, entry))
        self._sources[entry.source] += 1

    def has_source(self, device: str) -> bool:
        """Whether a device is mounted anywhere."""
        return self._sources[device] > 0

    def at(self, mount_point: str) -> list[Mount]:
        """What is mounted on a directory, the topmost last."""
        return [entry for _, entry in self._by_point.get(mount_point, ())]

    def covering(self, path: str) -> list[Mount]:
        """The mounts below the root that a normalised path lies in, the topmost first."""
        found: list[tuple[int, Mount]] = []
        while path not in {"", "/"}:
            found += self._by_point.get(path, ())
            path = path.rpartition("/")[0]
        return [entry for _, entry in sorted(found, key=lambda each: each[0], reverse=True)]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Mount]:
        return iter(self._entries)

    @overload
    def __getitem__(self, index: int) -> Mount: ...

    @overload
    def __getitem__(self, index: slice) -> list[Mount]: ...

    def __getitem__(self, index: int | slice) -> Mount | list[Mount]:
        return self._entries[index]

    @overload
    def __setitem__(self, index: int, value: Mount) -> None: ...

    @overload
    def __setitem__(self, index: slice, value: Iterable[Mount]) -> None: ...

    def __setitem__(self, index: int | slice, value: Mount | Iterable[Mount]) -> None:
        self._entries[index] = value  # type: ignore[index, assignment]
        self._index()

    def __delitem__(self, index: int | slice) -> None:
        del self._entries[index]
        self._index()

    def insert(self, index: int, value: Mount) -> None:
        """See MutableSequence.insert."""
        self._entries.insert(index, value)
        if index >= len(self._entries) - 1:
            self._note(value)
        else:
            self._index()

    def unmount(self, mount_point: str) -> Mount:
        """Takes away what is topmost on a directory. Raises LookupError when nothing is."""
        _, entry = self._by_point[mount_point].pop()
        self._sources[entry.source] -= 1
        del self._entries[next(i for i in range(len(self._entries) - 1, -1, -1) if self._entries[i] is entry)]
        return entry

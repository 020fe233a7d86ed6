"""Cells that are known to fail, each with the reason; to be taken out when it is mended. Pure."""

import re

_MOVES = "(evict-brick|remove-device|remove-node)"
_KNOWN: tuple[tuple[str, str], ...] = (
    (
        rf"{_MOVES}/(delete-brick|umount|lvremove)[^/]*/timeout|{_MOVES}/undo[.]get-glusterd[^/]*/kill-agent",
        "a brick that was moved away and is removed late keeps its space in the books until a resync",
    ),
)


def known_defect(cell_id: str) -> str:
    """Why a cell is known to fail; empty when it must not."""
    return next((reason for pattern, reason in _KNOWN if re.fullmatch(pattern, cell_id)), "")

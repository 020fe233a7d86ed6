"""Ids of objects and operations, and the rules for what may stand in names. Pure, but for the random source."""

import re
import secrets

_ID = re.compile(r"[0-9a-f]{32}")


def new_id() -> str:
    """A fresh id: 32 lower-case hex digits from 16 random bytes, as Heketi's."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id."""
    return _ID.fullmatch(text) is not None

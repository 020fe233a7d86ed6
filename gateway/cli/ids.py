"""How the ids of things look. Pure."""

_LENGTH = 32
_DIGITS = frozenset("0123456789abcdef")


def is_id(text: str) -> bool:
    """Whether it is the id of something, and no name."""
    return len(text) == _LENGTH and _DIGITS.issuperset(text)

"""Binary units. Sizes are bytes everywhere; KiB and GiB live only at the REST edge and in texts for people."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` (1 or more) that is not below `value` (0 or more)."""
    return -(-value // multiple) * multiple

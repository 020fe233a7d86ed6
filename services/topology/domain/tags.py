"""The rules of tags: free labels of nodes and devices. Pure."""

import re
from collections.abc import Mapping
from enum import StrEnum

from services.common.errors import InvalidArgumentError
from services.common.reasons import Reason

# Heketi's limits.
MAX_TAGS = 32
MAX_NAME_LENGTH = 32
MAX_VALUE_LENGTH = 64
_NAME = re.compile(r"[a-zA-Z0-9_.-]+")


class TagChange(StrEnum):
    """How a set of tags is changed."""

    SET = "set"
    UPDATE = "update"
    DELETE = "delete"


def check_tags(tags: Mapping[str, str]) -> None:
    """Whether these may be all tags of an object.

    Raises:
        InvalidArgumentError: TOO_MANY_TAGS above 32, INVALID_ARGUMENT for a bad name or a value above 64 characters.
    """
    if len(tags) > MAX_TAGS:
        raise InvalidArgumentError(
            Reason.TOO_MANY_TAGS,
            f"too many tags specified ({len(tags)}), up to {MAX_TAGS} supported",
            count=len(tags),
            maximum=MAX_TAGS,
        )
    for name, value in tags.items():
        if not name:
            raise _bad_tag(name, "tag names may not be empty")
        if len(name) > MAX_NAME_LENGTH:
            raise _bad_tag(name, f"tag name {name}: the length must be between 1 and {MAX_NAME_LENGTH}")
        if not _NAME.fullmatch(name):
            raise _bad_tag(name, f"invalid characters in tag name {name}")
        if "\0" in value:
            raise _bad_tag(name, f"invalid characters in the value of tag {name}")
        if len(value) > MAX_VALUE_LENGTH:
            raise _bad_tag(name, f"value of tag {name}: the length must be no more than {MAX_VALUE_LENGTH}")


def _bad_tag(name: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.INVALID_ARGUMENT, message, field="tags", value=name)


def changed_tags(tags: Mapping[str, str], change: TagChange, given: Mapping[str, str]) -> dict[str, str]:
    """All tags after the change; a deletion looks at the names only.

    Raises:
        InvalidArgumentError: As `check_tags`, for the result.
    """
    if change is TagChange.DELETE:
        return {name: value for name, value in tags.items() if name not in given}
    result = dict(given) if change is TagChange.SET else {**tags, **given}
    check_tags(result)
    return result

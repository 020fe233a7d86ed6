"""Pages of lists that a use case gives as a whole. Pure."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from services.common.pagination import decode_page_token, encode_page_token, page_size

_Item = TypeVar("_Item")
_LARGEST_PAGE = 10_000


def page_of(items: Sequence[_Item], key: Callable[[_Item], str], request: Any) -> tuple[list[_Item], str]:
    """The asked page of a list that is ascending by `key`, and the token of the next one."""
    size = page_size(request.page_size, default=1000, maximum=_LARGEST_PAGE)
    after = decode_page_token(request.page_token)
    rest = [item for item in items if key(item) > after]
    page = rest[:size]
    return page, encode_page_token(key(page[-1])) if len(rest) > size else ""

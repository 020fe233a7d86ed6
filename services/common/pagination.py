"""Opaque page tokens: the id after which the next page starts. Pure."""

import base64
import binascii

from services.common.errors import InvalidArgumentError
from services.common.reasons import Reason


def page_size(asked: int, *, default: int, maximum: int) -> int:
    """The size of a page: the default for 0, at most `maximum`.

    Raises:
        InvalidArgumentError: `asked` is negative.
    """
    if asked < 0:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT, f"page_size: {asked} is negative", field="page_size", value=asked
        )
    return min(asked or default, maximum)


def encode_page_token(last: str) -> str:
    """The token of the page after the entry with the sort key `last`."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def decode_page_token(token: str) -> str:
    """The sort key of the last entry seen; empty for the first page.

    Raises:
        InvalidArgumentError: The token was not made by `encode_page_token`.
    """
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise InvalidArgumentError(
            Reason.INVALID_PAGE_TOKEN, f"page_token: {token!r} is not a token of this list", field="page_token"
        ) from error

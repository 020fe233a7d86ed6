"""What parsers of the tools' answers have in common: whatever is wrong with an answer, one error tells of it. Pure."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from services.common.errors import InternalError
from services.common.reasons import Reason

_Parser = TypeVar("_Parser", bound=Callable[..., Any])
# A part is missing, has another type, is no number, or lies too deep: a tool answers otherwise than it did.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_SHOWN = 200


def reads(reason: Reason, what: str) -> Callable[[_Parser], _Parser]:
    """Marks a parser whose first argument is the answer: a malformed one is an InternalError of this reason.

    Args:
        reason: Of the error.
        what: Whose answer it is, for the text.
    """

    def decorate(parser: _Parser) -> _Parser:
        @functools.wraps(parser)
        def read(text: Any, *arguments: Any, **named: Any) -> Any:
            try:
                return parser(text, *arguments, **named)
            except MALFORMED as error:
                shown = str(text)[:_SHOWN]
                raise InternalError(
                    reason, f"{what} cannot be read: {type(error).__name__}: {error}: {shown!r}", answer=shown
                ) from error

        return read  # type: ignore[return-value]  # the same signature

    return decorate

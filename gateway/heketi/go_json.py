"""JSON as Go's encoding/json reads and writes it, as far as clients can see a difference. Pure.

Reading: key names match without regard to case, unknown keys are ignored, null leaves a field as it is, a repeated key
counts again, and a value of the wrong type is an error even where Python would convert it.
"""

import json
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
_FLOAT32_MAX: Final = 3.4028234663852886e38
_SURROGATE = re.compile("[\ud800-\udfff]")


class SyntaxFault(ValueError):  # noqa: N818 - a value of the protocol, told apart from TypeFault
    """The text is no JSON."""


class TypeFault(ValueError):  # noqa: N818 - a value of the protocol, told apart from SyntaxFault
    """A value does not fit its field.

    Attributes:
        found: What was found, in Go's words.
        wanted: The Go type of the field.
        field: Name of the field, empty at the top.
    """

    def __init__(self, found: str, wanted: str, field: str = "") -> None:
        super().__init__(f"cannot unmarshal {found} into {field or 'the value'} of type {wanted}")
        self.found = found
        self.wanted = wanted
        self.field = field


class _Pairs(list[tuple[str, Any]]):
    """An object with its keys in order, repeated ones included."""


class _FloatLiteral(float):
    """A number with a fraction or exponent, which remembers how it was written."""

    text: str


def _float_literal(text: str) -> _FloatLiteral:
    literal = _FloatLiteral(text)
    literal.text = text
    return literal


def _no_constant(name: str) -> float:
    raise SyntaxFault(f"invalid character {name[0]!r} looking for beginning of value")


_decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=_float_literal, parse_constant=_no_constant)

# A reader turns a value (never null) and what the field held before into what it holds now.
Reader = Callable[[Any, Any], Any]
Shape = Mapping[str, tuple[Reader, Any]]


def _kind(value: object) -> str:
    """What Go calls a value in its messages."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, _Pairs):
        return "object"
    return "array" if isinstance(value, list) else "number"


def integer(value: Any, _before: Any) -> int:
    """Reads an int64. 1.0 and 1e3 are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        if INT64_MIN <= value <= INT64_MAX:
            return value
        raise TypeFault(f"number {value}", "int64")
    raise TypeFault(f"number {value.text}" if isinstance(value, _FloatLiteral) else _kind(value), "int64")


def float32(value: Any, _before: Any) -> float:
    """Reads a float32, as the double that has its value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeFault(_kind(value), "float32")
    # Compared before the conversion: an int of 400 digits has no float.
    if not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        raise TypeFault("number", "float32")
    return float(struct.unpack("<f", struct.pack("<f", float(value)))[0])


def boolean(value: Any, _before: Any) -> bool:
    """Reads a bool."""
    if isinstance(value, bool):
        return value
    raise TypeFault(_kind(value), "bool")


def text(value: Any, _before: Any) -> str:
    """Reads a string; half a surrogate pair becomes U+FFFD."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    raise TypeFault(_kind(value), "string")


def text_list(value: Any, _before: Any) -> tuple[str, ...]:
    """Reads an array of strings; null in it is empty."""
    if isinstance(value, list) and not isinstance(value, _Pairs):
        return tuple("" if item is None else text(item, None) for item in value)
    raise TypeFault(_kind(value), "[]string")


def text_map(value: Any, before: Any) -> dict[str, str]:
    """Reads an object of strings; null in it is empty."""
    if not isinstance(value, _Pairs):
        raise TypeFault(_kind(value), "map[string]string")
    read = {text(key, None): "" if item is None else text(item, None) for key, item in value}
    return {**before, **read}


def nested(shape: Shape) -> tuple[Reader, dict[str, Any]]:
    """Field of a struct type, with the defaults of its own fields."""
    return (lambda value, before: _fill(shape, value, before)), defaults(shape)


def defaults(shape: Shape) -> dict[str, Any]:
    """The fields of an empty object."""
    return {name: default for name, (_, default) in shape.items()}


def _fill(shape: Shape, value: Any, before: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, _Pairs):
        raise TypeFault(_kind(value), "struct")
    fields = dict(before)
    for key, item in value:
        # Go's folding takes the long s for an s; lower() does the rest, the Kelvin sign included.
        name = key if key in shape else key.lower().replace("\u017f", "s")
        if name not in shape:
            continue
        reader, default = shape[name]
        if item is None:
            # Go sets slices and maps to nil, and leaves everything else as it is.
            fields[name] = default if isinstance(default, tuple) or reader is text_map else fields[name]
            continue
        try:
            fields[name] = reader(item, fields[name])
        except TypeFault as fault:
            raise TypeFault(fault.found, fault.wanted, f"{name}.{fault.field}".rstrip(".")) from fault
    return fields


# What Go's scanner was doing, by the beginning of Python's complaint.
_SCANNING = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name": "looking for beginning of object key string",
    "Expecting ':'": "after object key",
    "Extra data": "after top-level value",
    "Invalid control character": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX": "in \\u hexadecimal character escape",
}


def _in_go_words(error: json.JSONDecodeError) -> str:
    """Why a text is no JSON, as Go's encoding/json says it."""
    rest = error.doc[error.pos :].lstrip()
    if not rest or error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    doing = next((words for complaint, words in _SCANNING.items() if error.msg.startswith(complaint)), "")
    if not doing:  # a comma is missing
        opened = [letter for letter in error.doc[: error.pos] if letter in "[]{}"]
        depth = 0
        for letter in reversed(opened):
            depth += 1 if letter in "[{" else -1
            if depth > 0:
                doing = "after array element" if letter == "[" else "after object key:value pair"
                break
    character = "'\\''" if rest[0] == "'" else f"'{rest[0]}'"
    return f"invalid character {character} {doing}"


def read(body: bytes, shape: Shape) -> dict[str, Any]:
    """The fields of an object. `null` counts as an empty one.

    Raises:
        SyntaxFault: The body is no JSON, or something follows it.
        TypeFault: A field has a value of another type.
    """
    try:
        value = _decoder.decode(body.decode("utf-8", "replace"))
    except SyntaxFault:
        raise
    except json.JSONDecodeError as error:
        raise SyntaxFault(_in_go_words(error)) from error
    except (ValueError, RecursionError) as error:
        raise SyntaxFault(str(error)) from error
    return defaults(shape) if value is None else _fill(shape, value, defaults(shape))


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
# Inside strings only, where all of these can be; Go escapes them so that JSON can stand in HTML and JavaScript.
_ESCAPES = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"})
_NEEDS_ESCAPE = re.compile("[<>&\u2028\u2029]")


def write(value: Any) -> bytes:
    """One line of compact JSON with a newline at its end, as Go's encoder writes it."""
    return f"{escaped(_encode(value))}\n".encode()


def escaped(text: str) -> str:
    """JSON with the characters that Go escapes in strings."""
    return text.translate(_ESCAPES) if _NEEDS_ESCAPE.search(text) else text


def float32_number(value: float) -> float | int:
    """The number that prints as the shortest decimal which is this float32: 1, 1.5, 1.1."""
    wanted = struct.unpack("<f", struct.pack("<f", value))[0]
    for digits in range(1, 10):
        shortest = float(f"{wanted:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", shortest))[0] == wanted:
            break
    return int(shortest) if shortest.is_integer() else shortest

"""The part of Go's text templates that `topology info --template` is used with. Pure.

Text, fields (.Id, .Storage.Total, $.ClusterList), range and if with else, end, the functions len, index, eq, ne, not,
and, or, print, printf, and the trim marks. Anything else is refused by name.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Go's names of the fields, where they are not the JSON key with a capital letter.
_GO_NAMES = {
    "ClusterList": "clusters",
    "DevicesInfo": "devices",
    "ClusterId": "cluster",
    "DeviceId": "device",
    "NodeId": "node",
    "VolumeId": "volume",
    "GlusterFS": "glusterfs",
    "MountPoint": "device",
    "GlusterVolumeOptions": "glustervolumeoptions",
    "BlockInfo": "blockinfo",
    "FreeSize": "freesize",
    "ReservedSize": "reservedsize",
    "BlockVolumes": "blockvolume",
    "PvUUID": "pv_uuid",
}
_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\(|\)|\||[^\s()|]+')
_VERB = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-zA-Z%]")


class TemplateFault(ValueError):  # noqa: N818 - told to people; it is no bug of ours
    """The template cannot be rendered; says why."""


@dataclass(frozen=True, slots=True)
class _Block:
    word: str
    pipeline: str
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...]


def render(template: str, data: Mapping[str, Any]) -> str:
    """The template's text for the data.

    Raises:
        TemplateFault: It is broken, or uses what is not known here.
    """
    words = list(_lex(template))
    nodes, rest, _ = _parse(words, inside=False)
    assert not rest  # noqa: S101 - checked right before
    return "".join(_run(nodes, data, data))


def _lex(template: str) -> Iterator[tuple[str, str]]:
    position, trim = 0, False
    for match in _ACTION.finditer(template):
        text = template[position : match.start()]
        text = text.lstrip() if trim else text
        yield "text", text.rstrip() if match[1] else text
        if not match[2].startswith("/*"):
            yield "action", match[2]
        position, trim = match.end(), bool(match[3])
    tail = template[position:]
    if "{{" in tail:
        raise TemplateFault("template: unclosed action")
    yield "text", tail.lstrip() if trim else tail


def _parse(words: list[tuple[str, str]], *, inside: bool) -> tuple[tuple[Any, ...], list[tuple[str, str]], str]:
    """The nodes up to the end of the block, the words behind it, and the word that ended it."""
    nodes: list[Any] = []
    while words:
        (kind, text), words = words[0], words[1:]
        word, _, pipeline = text.partition(" ")
        if kind == "text":
            nodes.append(text)
        elif word in ("range", "if"):
            body, words, ended = _parse(words, inside=True)
            otherwise: tuple[Any, ...] = ()
            if ended == "else":
                otherwise, words, _ = _parse(words, inside=True)
            nodes.append(_Block(word, pipeline, body, otherwise))
        elif text in ("end", "else"):
            if not inside:
                raise TemplateFault(f"template: unexpected {{{{{text}}}}}")
            return tuple(nodes), words, text
        else:
            nodes.append(("value", text))
    if inside:
        raise TemplateFault("template: unexpected EOF: an {{end}} is missing")
    return tuple(nodes), words, ""


def _run(nodes: Sequence[Any], dot: Any, root: Any) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, _Block):
            value = _pipeline(node.pipeline, dot, root)
            if node.word == "range" and value:
                items = value.values() if isinstance(value, Mapping) else value
                for item in items:
                    yield from _run(node.body, item, root)
            else:
                yield from _run(node.body if value and node.word == "if" else node.otherwise, dot, root)
        else:
            yield _shown(_pipeline(node[1], dot, root))


def _pipeline(text: str, dot: Any, root: Any) -> Any:
    commands: list[list[str]] = [[]]
    depth = 0
    for word in _TOKEN.findall(text):
        depth += (word == "(") - (word == ")")
        if word == "|" and depth == 0:
            commands.append([])
        else:
            commands[-1].append(word)
    value: Any = None
    for number, command in enumerate(commands):
        arguments = list(_arguments(command, dot, root))
        if number:
            arguments.append(value)
        if not arguments:
            raise TemplateFault("template: missing value for command")
        value = _call(command[0], arguments) if command[0] in _FUNCTIONS else arguments[0]
        if command[0] not in _FUNCTIONS and len(arguments) > 1:
            raise TemplateFault(f"template: {command[0]} takes no arguments")
    return value


def _arguments(command: Sequence[str], dot: Any, root: Any) -> Iterator[Any]:
    words = list(command[1:] if command and command[0] in _FUNCTIONS else command)
    while words:
        word = words.pop(0)
        if word == "(":
            depth, inner = 1, []
            while words:
                each = words.pop(0)
                depth += (each == "(") - (each == ")")
                if depth == 0:
                    break
                inner.append(each)
            yield _pipeline(" ".join(inner), dot, root)
        else:
            yield _value(word, dot, root)


def _value(word: str, dot: Any, root: Any) -> Any:
    if word.startswith('"'):
        return word[1:-1].encode().decode("unicode_escape")
    if word in ("true", "false"):
        return word == "true"
    if re.fullmatch(r"-?\d+", word):
        return int(word)
    if word == "$" or word.startswith("$."):
        return _field(root, word[1:])
    if word.startswith("."):
        return _field(dot, word)
    raise TemplateFault(f'template: "{word}" is not supported; known are fields and {", ".join(sorted(_FUNCTIONS))}')


def _field(value: Any, path: str) -> Any:
    for name in path.strip(".").split("."):
        if not name:
            continue
        if not isinstance(value, Mapping):
            raise TemplateFault(f"template: can't evaluate field {name}")
        value = value.get(_key(value, name), "")
    return value


def _key(value: Mapping[str, Any], name: str) -> str:
    candidates = (name, _GO_NAMES.get(name, ""), name.lower())
    return next((key for key in candidates if key in value), name)


def _call(name: str, arguments: list[Any]) -> Any:
    try:
        return _FUNCTIONS[name](*arguments)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise TemplateFault(f"template: error calling {name}: {error}") from error


def _printf(form: str, *values: Any) -> str:
    remaining = list(values)

    def one(match: re.Match[str]) -> str:
        verb = match[0]
        if verb == "%%":
            return "%"
        value = remaining.pop(0) if remaining else "%!(MISSING)"
        if verb.endswith(("v", "s")):
            return f"{verb[:-1]}s" % _shown(value)
        if verb.endswith("q"):
            return f'"{value}"'
        return str(verb % value)

    return _VERB.sub(one, form)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{' '.join(map(_shown, value))}]"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{_shown(value[key])}' for key in sorted(value))}]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value[key]
    return value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": len,
    "index": _index,
    "eq": lambda one, *others: one in others,
    "ne": lambda one, other: one != other,
    "not": lambda one: not one,
    "and": lambda *values: next((each for each in values if not each), values[-1]),
    "or": lambda *values: next((each for each in values if each), values[-1]),
    "print": lambda *values: "".join(map(_shown, values)),
    "printf": _printf,
}

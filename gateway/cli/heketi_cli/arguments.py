"""Commands, their flags, and the command line as Go's flag library reads it. Pure.

Scripts say `--block=false` and `-C a.pem,b.pem` and put flags before or after names; Python's parsers read these
otherwise, and their error texts differ.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROGRAM = "heketi-cli"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_TYPE_NAMES = {"string": " string", "int": " int", "float": " float32", "list": " strings", "bool": ""}


class UsageFault(Exception):  # noqa: N818 - told to people; it is no bug of ours
    """The command line, or what it names, cannot be; the text is told after `Error: `."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of a command.

    Attributes:
        name: Its long name, without dashes.
        kind: "string", "int", "float", "bool" or "list" (comma separated, may be repeated).
        usage: What it is, for the help.
        default: Its value when it is not given.
        short: Its one-letter name, without dash.
    """

    name: str
    kind: str
    usage: str
    default: Any = ""
    short: str = ""

    def parse(self, text: str) -> Any:
        """Its value from a text.

        Raises:
            UsageFault: The text is no such value.
        """
        try:
            return _PARSERS[self.kind](text)
        except ValueError as error:
            shown = f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"
            raise UsageFault(f'invalid argument "{text}" for "{shown}" flag: {error}') from None


def parse_bool(text: str) -> bool:
    """A truth value as Go spells it.

    Raises:
        ValueError: It is none; the text is Go's.
    """
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _parse_int(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax') from None


def split_list(text: str) -> list[str]:
    """The parts of a comma separated list; parts with commas are quoted as in CSV."""
    return next(csv.reader(io.StringIO(text)), [])


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "int": _parse_int,
    "float": _parse_float,
    "bool": parse_bool,
    "list": split_list,
}


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of them.

    Attributes:
        name: What the user types.
        summary: One line about it.
        about: The first lines of its help; empty = the summary.
        flags: Its own flags.
        run: What it does; None for a group.
        commands: The commands of a group.
        aliases: Other names.
        arguments: How its arguments are shown, e.g. "ID".
        example: Shown in its help.
    """

    name: str
    summary: str
    about: str = ""
    flags: tuple[Flag, ...] = ()
    run: Callable[..., None] | None = None
    commands: tuple[Command, ...] = ()
    aliases: tuple[str, ...] = ()
    arguments: str = ""
    example: str = ""

    def child(self, name: str) -> Command | None:
        """The command of that name in this group."""
        return next((each for each in self.commands if name in (each.name, *each.aliases)), None)


_HELP = Flag("help", "bool", "", default=False, short="h")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command line.

    Attributes:
        path: The commands from the root to the one that was named.
        flags: Values of all its flags, by name.
        arguments: What is neither a command nor a flag.
    """

    path: tuple[Command, ...]
    flags: Mapping[str, Any]
    arguments: tuple[str, ...]

    @property
    def command(self) -> Command:
        """The command that was named."""
        return self.path[-1]


def parse(root: Command, global_flags: Sequence[Flag], argv: Sequence[str]) -> Parsed:
    """Reads a command line.

    Raises:
        UsageFault: A flag is not known, or its value is none.
    """
    path, rest = _find_command(root, global_flags, list(argv))
    own = {flag.name: flag for flag in (*global_flags, _HELP, *path[-1].flags)}
    values: dict[str, Any] = {flag.name: flag.default for flag in own.values()}
    given: set[str] = set()
    arguments: list[str] = []
    words = iter(rest)
    for word in words:
        if word == "--":
            arguments.extend(words)
        elif word.startswith("-") and word != "-":
            for flag, text in _flags_of(word, own, words):
                value = flag.parse(text)
                if flag.kind == "list" and flag.name in given:
                    value = [*values[flag.name], *value]
                values[flag.name] = value
                given.add(flag.name)
        else:
            arguments.append(word)
    return Parsed(path, values, tuple(arguments))


def _find_command(
    root: Command, global_flags: Sequence[Flag], words: list[str]
) -> tuple[tuple[Command, ...], list[str]]:
    """The named command and the other words; a flag's value is not taken for a command."""
    path = [root]
    rest: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        if word == "--":
            break
        if word.startswith("-"):
            rest.append(word)
            if _takes_next(word, (*global_flags, *path[-1].flags)) and index + 1 < len(words):
                index += 1
                rest.append(words[index])
        else:
            child = path[-1].child(word)
            if child is None:
                break
            path.append(child)
        index += 1
    return tuple(path), [*rest, *words[index:]]


def _takes_next(word: str, flags: Sequence[Flag]) -> bool:
    if "=" in word:
        return False
    name = word.lstrip("-")
    return any(flag.kind != "bool" and name in (flag.name, flag.short) for flag in flags)


def _flags_of(word: str, known: Mapping[str, Flag], words: Iterator[str]) -> Iterator[tuple[Flag, str]]:
    """The flags in one word, each with the text of its value; several short ones may share it."""
    if word.startswith("--"):
        name, equals, text = word[2:].partition("=")
        flag = known.get(name)
        if flag is None:
            raise UsageFault(f"unknown flag: --{name}")
        yield flag, text if equals else _value(flag, words, f"flag needs an argument: --{name}")
        return
    letters = word[1:]
    by_letter = {flag.short: flag for flag in known.values() if flag.short}
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = by_letter.get(letter)
        if flag is None:
            raise UsageFault(f"unknown shorthand flag: '{letter}' in {word}")
        if flag.kind == "bool" and not letters.startswith("="):
            yield flag, "true"
            continue
        text = letters.removeprefix("=")
        yield flag, text or _value(flag, words, f"flag needs an argument: '{letter}' in {word}")
        return


def _value(flag: Flag, words: Iterator[str], missing: str) -> str:
    if flag.kind == "bool":
        return "true"
    text = next(words, None)
    if text is None:
        raise UsageFault(missing)
    return text


# --- help -------------------------------------------------------------------------------------------------------------


def help_text(path: Sequence[Command], global_flags: Sequence[Flag]) -> str:
    """The help of the last command of a path."""
    command = path[-1]
    name = " ".join(each.name for each in path)
    parts = [command.about or command.summary, f"Usage:\n  {_usage_line(command, name)}"]
    if command.run is not None or command.example:
        parts.append(f"Examples:\n{command.example or '  $ ' + ' '.join(filter(None, (name, command.arguments)))}")
    if command.aliases:
        parts.append(f"Aliases:\n  {', '.join((command.name, *command.aliases))}")
    if command.commands:
        width = max(len(child.name) for child in command.commands)
        listed = [
            f"  {child.name:<{width}} {child.summary}" for child in sorted(command.commands, key=lambda c: c.name)
        ]
        parts.append("\n".join(("Available Commands:", *listed)))
    own = (*command.flags, Flag("help", "bool", f"help for {command.name}", default=False, short="h"))
    at_root = len(path) == 1
    parts.append(f"Flags:\n{_flag_lines((*own, *global_flags) if at_root else own)}")
    if not at_root:
        parts.append(f"Global Flags:\n{_flag_lines(global_flags)}")
    if command.commands:
        parts.append(f'Use "{name} [command] --help" for more information about a command.')
    return "\n\n".join(parts) + "\n"


def _usage_line(command: Command, name: str) -> str:
    if command.commands:
        return f"{name} [command]"
    return " ".join(part for part in (name, command.arguments, "[flags]") if part)


def _flag_lines(flags: Sequence[Flag]) -> str:
    heads = {}
    for flag in sorted(flags, key=lambda each: each.name):
        short = f"-{flag.short}, " if flag.short else "    "
        heads[flag] = f"  {short}--{flag.name}{_TYPE_NAMES[flag.kind]}"
    width = max(len(head) for head in heads.values()) + 3
    indent = "\n" + " " * width
    return "\n".join(
        f"{head:<{width}}{flag.usage}{_default(flag)}".replace("\n", indent) for flag, head in heads.items()
    )


def _default(flag: Flag) -> str:
    if flag.kind == "list" or not flag.default:
        return ""
    shown = f'"{flag.default}"' if flag.kind == "string" else str(flag.default).lower()
    return f" (default {shown})"

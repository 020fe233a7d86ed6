"""What a command gets: its arguments and flags, the way to the server, and where its words go."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.cli.heketi_cli.arguments import UsageFault
from gateway.cli.heketi_cli.client import Client


@dataclass(frozen=True, slots=True)
class Call:
    """One run of one command.

    Attributes:
        client: The way to the server.
        arguments: What is neither a command nor a flag.
        flags: Values of all flags by name.
    """

    client: Client
    arguments: tuple[str, ...]
    flags: Mapping[str, Any]

    @property
    def wants_json(self) -> bool:
        """Whether the answer is to be printed as JSON."""
        return self.flags["json"] is True

    def first(self, missing: str) -> str:
        """The first argument.

        Raises:
            UsageFault: There is none; the text is `missing`.
        """
        if not self.arguments:
            raise UsageFault(missing)
        return self.arguments[0]

    def refuse_more_than(self, count: int, text: str) -> None:
        """Raises UsageFault when there are more arguments."""
        if len(self.arguments) > count:
            raise UsageFault(text)

    def needs(self, flag: str, missing: str) -> Any:
        """The value of a flag.

        Raises:
            UsageFault: It is empty or 0; the text is `missing`.
        """
        value = self.flags[flag]
        if not value:
            raise UsageFault(missing)
        return value

    def show(self, found: Any, text: str) -> None:
        """Prints an answer: as text, or as JSON without a newline."""
        write(go_json(found) if self.wants_json else text)


def write(text: str) -> None:
    """Prints as it is."""
    sys.stdout.write(text)


def note(text: str) -> None:
    """A line for the user beside the output."""
    sys.stderr.write(f"{text}\n")


def go_json(found: Any) -> str:
    """JSON as Go prints it: no blanks, and with the three characters escaped that mean something in HTML."""
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

"""Reads the recorded exchanges of a real Heketi: what was sent, what came back, and by which command."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "rest"
_HEADER = re.compile(r"(Content-Type|Location|X-Pending): (.*)")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; bodies without their last newline."""

    method: str
    path: str
    sent: str
    status: int
    headers: dict[str, str]
    body: str

    @property
    def is_poll(self) -> bool:
        return self.path.startswith("/queue/")


@dataclass(frozen=True, slots=True)
class Command:
    """One run of the command line client and its exchanges; polls of a queue entry are reduced to the last one."""

    line: str
    exchanges: tuple[Exchange, ...]


def read(name: str) -> tuple[Command, ...]:
    """The commands of one recording."""
    return tuple(_commands((GOLDEN / f"{name}.txt").read_text().splitlines()))


def _commands(lines: list[str]) -> Iterator[Command]:
    starts = [index for index, line in enumerate(lines) if line.startswith("# ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Command(lines[start].removeprefix("# "), tuple(_without_early_polls(_exchanges(lines[start + 1 : end]))))


def _exchanges(lines: list[str]) -> Iterator[Exchange]:
    block: list[str] = []
    for line in [*lines, ""]:
        if line:
            block.append(line)
        elif block:
            yield _exchange(block)
            block = []


def _exchange(block: list[str]) -> Exchange:
    begins = [index for index, line in enumerate(block) if line.startswith("<")]
    sent, answered = (block[: begins[0]], block[begins[0] :]) if begins else (block, [])
    if not sent or not answered or not all(line.startswith(">") for line in sent):
        raise ValueError(f"not an exchange: {block}")
    request = [line.removeprefix(">").removeprefix(" ") for line in sent]
    # The lines of an indented body after its first one have no mark.
    answer = [line.removeprefix("<").removeprefix(" ") if line.startswith("<") else line for line in answered]
    method, path = request[0].split(" ")
    _, sent_body = _headers_and_body(request[1:])
    headers, body = _headers_and_body(answer[1:])
    return Exchange(method, path, sent_body, int(answer[0]), headers, body)


def _headers_and_body(lines: list[str]) -> tuple[dict[str, str], str]:
    headers: dict[str, str] = {}
    body: list[str] = []
    for line in lines:
        match = None if body else _HEADER.fullmatch(line)
        if match:
            headers[match[1].lower()] = match[2]
        elif line:
            body.append(line)
    return headers, "\n".join(body)


def _without_early_polls(exchanges: Iterator[Exchange]) -> Iterator[Exchange]:
    """How often a client had to ask is a matter of time."""
    for exchange in exchanges:
        if "x-pending" not in exchange.headers:
            yield exchange

"""Sends the requests of a recording to a live stack and compares what comes back."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.contract.heketi.recording import Command, Exchange
from tests.contract.heketi.scenarios import UNRECORDED_KEYS, Difference, How, On, Scenario, Setup
from tests.contract.heketi.shapes import ID, canonical, compact, faults, indented, pairs

# Stands for "no such object" in the recordings.
ABSENT = "0123456789abcdef0123456789abcdef"
_POLL_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack to replay against. It must be empty at the start of a scenario.

    Attributes:
        http: A client whose base URL is the REST face; redirects are not followed.
        keys: Secrets of "admin" and "user".
        recorded_sizes: Whether its devices have 500 GiB to the byte, as the recorded ones.
        poll_interval_s: Pause between two polls of the queue.
        reset_mode: Does what SIGUSR2 does to the server.
        has_records: Whether it can show all that it knows.
    """

    http: httpx.AsyncClient
    keys: Mapping[str, str]
    recorded_sizes: bool = True
    poll_interval_s: float = 0.05
    reset_mode: Callable[[], None] = lambda: None
    has_records: bool = False


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_token(issuer: str, key: str, method: str, path: str, **more: Any) -> str:
    """A token as Heketi's clients make it; an empty issuer is left out. Libraries refuse the empty keys of some.

    `more` are further claims.
    """
    now = int(time.time())
    claims: dict[str, Any] = {
        "iat": now,
        "exp": now + 60,
        "qsh": hashlib.sha256(f"{method}&{path}".encode()).hexdigest(),
        **more,
    }
    if issuer:
        claims["iss"] = issuer
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_base64(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


class Mismatch(AssertionError):  # noqa: N818 - what a failed assertion is
    """An answer is not the recorded one, and the difference is not accepted."""


@dataclass
class Replay:
    """One replay of one scenario."""

    stack: Stack
    scenario: Scenario
    commands: tuple[Command, ...]
    # Recorded ids and the live ones that stand for them.
    bound: dict[str, str] = field(default_factory=dict)
    compared: int = 0
    _live: dict[str, list[str]] = field(default_factory=lambda: {"clusters": [], "nodes": [], "devices": []})
    _matches: dict[Difference, int] = field(default_factory=dict)
    _signer: tuple[str, str] = ("admin", "admin")

    async def run(self) -> None:
        """Replays everything.

        Raises:
            Mismatch: An answer differs, or an accepted difference did not show.
        """
        for number, command in enumerate(self.commands):
            if self.scenario.setup is not None and self.scenario.setup.before_command == number:
                await self._set_up(self.scenario.setup)
            if number and number == self.scenario.reset_before:
                await self._reset_mode()
            signers = self.scenario.signers
            self._signer = signers[number] if number < len(signers) else ("admin", "admin")
            for exchange in command.exchanges:
                try:
                    await self._exchange(command, exchange)
                except Mismatch as mismatch:
                    raise Mismatch(f"{command.line}\n{exchange.method} {exchange.path}\n{mismatch}") from None
        unused = [each.reason for each in self._expected() if each not in self._matches]
        if unused:
            raise Mismatch(f"accepted differences that nothing matched: {unused}")

    # --- talking ------------------------------------------------------------------------------------------------------

    async def _send(self, method: str, path: str, body: str = "") -> httpx.Response:
        issuer, role = self._signer
        key = self.stack.keys.get(role, "" if role == "none" else "not a key of this server")
        headers = {"Authorization": f"bearer {make_token(issuer, key, method, path)}"}
        return await self.stack.http.request(method, path, content=body or None, headers=headers)

    async def _poll(self, path: str) -> httpx.Response:
        deadline = time.monotonic() + _POLL_TIMEOUT_S
        while True:
            answer = await self._send("GET", path)
            if "x-pending" not in answer.headers:
                return answer
            if answer.status_code != 200 or answer.headers["x-pending"] != "true" or answer.content:
                raise Mismatch(f"a pending answer is not one: {answer.status_code} {answer.text}")
            if time.monotonic() > deadline:
                raise Mismatch(f"still pending after {_POLL_TIMEOUT_S} s")
            # The queue has no other way to wait.
            await asyncio.sleep(self.stack.poll_interval_s)

    async def _reset_mode(self) -> None:
        self.stack.reset_mode()
        deadline = time.monotonic() + _POLL_TIMEOUT_S
        while (await self._send("GET", "/admin")).json()["state"] != "normal":
            if time.monotonic() > deadline:
                raise Mismatch("the mode is not reset")
            # A signal takes a moment.
            await asyncio.sleep(self.stack.poll_interval_s)

    async def _made(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        answer = await self._send("POST", path, json.dumps(body))
        if answer.status_code == 202:
            answer = await self._poll(answer.headers["location"])
        if answer.status_code not in {201, 204, 303}:
            raise Mismatch(f"setup: POST {path}: {answer.status_code} {answer.text}")
        return answer

    async def _set_up(self, setup: Setup) -> None:
        cluster = (await self._made("/clusters", {"file": True, "block": True})).json()["id"]
        self._live["clusters"].append(cluster)
        for number in range(setup.nodes):
            answer = await self._made(
                "/nodes",
                {
                    "zone": number % setup.zones + 1,
                    "hostnames": {"manage": [f"node{number}.example"], "storage": [f"10.0.0.{number + 1}"]},
                    "cluster": cluster,
                },
            )
            node = answer.headers["location"].removeprefix("/nodes/")
            self._live["nodes"].append(node)
            for letter in "bcdefgh"[: setup.devices]:
                await self._made("/devices", {"name": f"/dev/vd{letter}", "node": node})
            devices = (await self._send("GET", f"/nodes/{node}")).json()["devices"]
            self._live["devices"].extend(device["id"] for device in sorted(devices, key=lambda each: each["name"]))

    # --- ids ----------------------------------------------------------------------------------------------------------

    async def _bind_request(self, path: str, body: str) -> None:
        """Finds live objects for the recorded ids in a request that nothing has bound yet."""
        for pattern, kind in (
            (r"/(clusters|nodes|devices)/([0-9a-f]{32})", ""),
            (r'"(cluster|node)":"([0-9a-f]{32})"', "s"),
        ):
            for name, recorded in re.findall(pattern, path + body):
                if recorded != ABSENT and recorded not in self.bound:
                    live = await self._unbound(name + kind, recorded)
                    if live:
                        self.bound[recorded] = live

    async def _unbound(self, kind: str, recorded: str) -> str | None:
        """A live object from the setup that is like the recorded one was."""
        wanted = self._recorded_object(kind, recorded)
        for live in self._live[kind]:
            if live in self.bound.values():
                continue
            if wanted is None or kind == "clusters":
                return live
            found = (await self._send("GET", f"/{kind}/{live}")).json()
            if kind == "nodes" and found["hostnames"] == wanted["hostnames"]:
                return live
            same_name = self.scenario.placed or found.get("name") == wanted.get("name")
            if kind == "devices" and same_name and len(found["bricks"]) == len(wanted["bricks"]):
                return live
        return None

    def _recorded_object(self, kind: str, recorded: str) -> dict[str, Any] | None:
        """How the recording shows an object when it is looked at by itself."""
        for command in self.commands:
            for exchange in command.exchanges:
                if exchange.path == f"/{kind}/{recorded}" and exchange.method == "GET" and exchange.status == 200:
                    shown: dict[str, Any] = json.loads(exchange.body)
                    return shown
        return None

    def _here(self, text: str) -> str:
        """A recorded text with the live ids, where they are known."""
        return ID.sub(lambda match: self.bound.get(match[0], match[0]), text)

    def _strange(self, text: str) -> Iterator[str]:
        return (each for each in ID.findall(text) if each not in self.bound and each != ABSENT)

    # --- comparing ----------------------------------------------------------------------------------------------------

    def _expected(self) -> Iterator[Difference]:
        elsewhere = On.WITHOUT_RECORDS if self.stack.has_records else On.WITH_RECORDS
        return (each for each in self.scenario.differences if each.on is not elsewhere)

    def _difference(self, command: Command, exchange: Exchange) -> Difference | None:
        found = None
        for each in self._expected():
            if each.matches(command.line, f"{exchange.method} {exchange.path}"):
                self._matches[each] = self._matches.get(each, 0) + 1
                if each.nth in {0, self._matches[each]}:
                    found = each
        return found

    async def _exchange(self, command: Command, exchange: Exchange) -> None:
        difference = self._difference(command, exchange)
        if difference is not None and difference.how is How.SKIP:
            return
        await self._bind_request(exchange.path, exchange.sent)
        path, sent = self._here(exchange.path), self._here(exchange.sent)
        strange = list(self._strange(exchange.path + exchange.sent))
        if strange:
            raise Mismatch(f"nothing here stands for {strange}")
        answer = await (self._poll(path) if exchange.is_poll else self._send(exchange.method, path, sent))
        self.compared += 1
        if difference is not None and difference.how is How.INSTEAD:
            _check_instead(difference, answer)
            return
        self._check_head(exchange, answer)
        if difference is not None and difference.how is How.STATUS:
            self._learn(exchange, answer)
            return
        first_line_only = difference is not None and difference.how is How.FIRST_LINE
        self._check_body(exchange, answer, first_line_only=first_line_only)

    def _check_head(self, exchange: Exchange, answer: httpx.Response) -> None:
        if answer.status_code != exchange.status:
            raise Mismatch(f"recorded {exchange.status}, got {answer.status_code} {answer.text}")
        if answer.headers.get("content-type") != exchange.headers.get("content-type"):
            raise Mismatch(f"recorded {exchange.headers}, got {dict(answer.headers)}")
        recorded, live = exchange.headers.get("location", ""), answer.headers.get("location", "")
        if ID.sub("<id>", recorded) != ID.sub("<id>", live):
            raise Mismatch(f"recorded location {recorded}, got {live}")
        for one, other in zip(ID.findall(recorded), ID.findall(live), strict=True):
            self._bind(one, other)

    def _check_body(self, exchange: Exchange, answer: httpx.Response, *, first_line_only: bool) -> None:
        if exchange.headers.get("content-type", "").startswith("application/json") and exchange.body:
            self._check_json(exchange, answer)
            return
        if (answer.content != b"") != (exchange.body != "") or (answer.content and not answer.text.endswith("\n")):
            raise Mismatch(f"recorded body {exchange.body!r}, got {answer.content!r}")
        text = answer.text.split("\n")[0] if first_line_only else answer.text.rstrip("\n")
        if text != self._here(exchange.body):
            raise Mismatch(f"recorded {self._here(exchange.body)!r}, got {answer.text!r}")

    def _check_json(self, exchange: Exchange, answer: httpx.Response) -> None:
        recorded, live = json.loads(exchange.body), answer.json()
        written = indented(live) if exchange.body.startswith("{\n") else compact(live)
        if answer.text != f"{written}\n":
            raise Mismatch(f"not in Go's form: {answer.text!r}")
        wrong = list(faults(live))
        if wrong:
            raise Mismatch(f"{wrong}: {answer.text}")
        names, sizes = not self.scenario.placed, self.stack.recorded_sizes
        shapes = [
            compact(canonical(value, device_names=names, sizes=sizes, keys=UNRECORDED_KEYS))
            for value in (recorded, live)
        ]
        if shapes[0] != shapes[1]:
            raise Mismatch(f"recorded {shapes[0]}\n     got {shapes[1]}")
        self._learn(exchange, answer)
        self._check_lists_of_ids(recorded, live)

    def _learn(self, exchange: Exchange, answer: httpx.Response) -> None:
        recorded = json.loads(exchange.body)
        for one, other in pairs(recorded, answer.json()):
            # Which device took a brick is a choice; the object that was asked for is not.
            self._bind(one, other, binding=one in exchange.path)

    def _bind(self, recorded: str, live: str, *, binding: bool = True) -> None:
        known = self.bound.setdefault(recorded, live)
        if known != live and binding:
            raise Mismatch(f"{live} stands where {recorded}, that is {known}, was recorded")

    def _check_lists_of_ids(self, recorded: Any, live: Any) -> None:
        """Every object that is known by both sides is in both lists, or in none."""
        if not isinstance(recorded, dict):
            return
        for key, items in recorded.items():
            if isinstance(items, list) and all(isinstance(item, str) and ID.fullmatch(item) for item in items):
                expected = {self.bound[item] for item in items if item in self.bound}
                if not expected <= set(live[key]):
                    raise Mismatch(f"{key}: {sorted(expected)} are not all in {live[key]}")


def _check_instead(difference: Difference, answer: httpx.Response) -> None:
    if answer.status_code != difference.status or not re.fullmatch(difference.text, answer.text.strip(), re.DOTALL):
        raise Mismatch(f"accepted {difference.status} {difference.text!r}, got {answer.status_code} {answer.text!r}")

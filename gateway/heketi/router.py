"""Heketi's routing rules: regex ids, one optional slash at the end, 405 apart from 404, clean paths. Pure."""

import posixpath
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from gateway.heketi.context import Context
from gateway.heketi.http import Answer, Request
from gateway.heketi.texts.errors import Action

Handler = Callable[[Request, Context], Awaitable[Answer]]
_ID = "(?P<id>[A-Fa-f0-9]+)"


@dataclass(frozen=True, slots=True)
class Route:
    """One request that is understood.

    Attributes:
        method: HTTP method.
        path: Path, with "{id}" where the id of an object stands.
        handler: What answers it.
        action: What it asks, for the texts of errors.
    """

    method: str
    path: str
    handler: Handler
    action: Action = Action.OTHER


@dataclass(frozen=True, slots=True)
class Found:
    """The route of a request, and the id in its path (empty when the path has none)."""

    route: Route
    target_id: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The path is known without its final slash."""

    path: str


@dataclass(frozen=True, slots=True)
class WrongMethod:
    """The path is known, for other methods."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No route has such a path."""


def clean_path(path: str) -> str:
    """The path without empty, "." and ".." segments; a final slash stays."""
    if "//" not in path and "/." not in path and path.startswith("/"):
        return path
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Takes the routes in the order in which they are tried."""
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        # Routes share few first segments, so that only a handful of patterns is tried for a request.
        self._by_first_segment: dict[str, list[tuple[re.Pattern[str], dict[str, Route]]]] = {}
        for path, methods in by_path.items():
            pattern = re.compile(re.escape(path).replace(r"\{id\}", _ID) + "/?")
            self._by_first_segment.setdefault(path.split("/", 2)[1], []).append((pattern, methods))

    def find(self, method: str, path: str) -> Found | Elsewhere | WrongMethod | Unknown:
        """What becomes of a request with a clean path."""
        parts = path.split("/", 2)
        known = False
        for pattern, methods in self._by_first_segment.get(parts[1] if len(parts) > 1 else "", ()):
            match = pattern.fullmatch(path)
            if match is None:
                continue
            known = True
            route = methods.get(method)
            if route is not None:
                # Heketi looks at the method first: a slash too many on a wrong method is a wrong method.
                return Elsewhere(path[:-1]) if path.endswith("/") else Found(route, match.groupdict().get("id", ""))
        return WrongMethod() if known else Unknown()

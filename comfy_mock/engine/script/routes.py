"""Whether a server has the route that a rule is for."""

from __future__ import annotations

from collections.abc import Iterable

from comfy_mock.engine.script.problems import did_you_mean

CONTROL_PREFIX = "/__comfy_mock__"
"""What no route of ComfyUI begins with: paths under it are the fake's own, and no fault touches them."""

_LIKE_A_MISSPELLING = 0.85
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class RouteTable:
    """The routes of a server, such as `GET /history/{prompt_id}`."""

    def __init__(self, routes: Iterable[str]) -> None:
        self._routes = [route.split(" ", 1) for route in routes]

    def complaint(self, route: str, *, only_misspelt: bool = False) -> str | None:
        """What is wrong with the `route` of a rule; None where the server has such a one.

        With `only_misspelt` a route that the server has not is fine, unless it looks like one that it has: the rule
        answers in its place.
        """
        method, blank, path = route.partition(" ")
        if method != "*" and method not in _METHODS:
            near = did_you_mean(f"{method} {path}", self._known())
            return f"{route!r} must be a method and a path, such as 'GET /queue', or '*'{near}"
        if not blank or path == "*":
            return None
        if not path.startswith("/"):
            return f"the path of {route!r} must begin with a slash"
        if "?" in path or "#" in path:
            return f"the path of {route!r} ends before the `?`; parameters are matched by `query`"
        if " " in path:
            return f"{route!r} has more than a method and a path: give each route a rule of its own"
        if "*" in path.removesuffix("/*"):
            return f"a `*` in the path of {route!r} stands for all that follows: it is alone behind the last slash"
        if any(segment.count("{") != segment.count("}") for segment in path.split("/")):
            return f"a brace of {route!r} is not closed: {{name}} stands for one segment"
        if path.startswith(f"{CONTROL_PREFIX}/"):
            return f"{route!r} is of the control API, which no rule touches"
        methods = {known for known, template in self._routes if _covers(path, template)}
        if method in ("*", "OPTIONS") and methods:
            return None
        if method in methods or (method == "HEAD" and "GET" in methods):
            return None
        if methods and not only_misspelt:
            return f"the server has no {route!r}; it has {' and '.join(f'{each} {path}' for each in sorted(methods))}"
        near = did_you_mean(route, self._known(), cutoff=_LIKE_A_MISSPELLING if only_misspelt else 0.6)
        return None if only_misspelt and (methods or not near) else f"the server has no route {route!r}{near}"

    def _known(self) -> list[str]:
        return [" ".join(route) for route in self._routes]


def _covers(pattern: str, template: str) -> bool:
    """Whether some path is of the pattern of a rule and of the template of a route, with or without `/api`."""
    wanted, given = (_segments(path) for path in (pattern, template))
    open_pattern, open_template = wanted[-1] == "*", given[-1].endswith(":rest}")
    wanted, given = wanted[: -1 if open_pattern else None], given[: -1 if open_template else None]
    if len(wanted) < len(given) and not open_pattern:
        return False
    if len(wanted) > len(given) and not open_template:
        return False
    return all(one == other or "{" in one[:1] + other[:1] for one, other in zip(wanted, given))  # noqa: B905 - the rest is open


def _segments(path: str) -> list[str]:
    return (path.removeprefix("/api") if path.startswith("/api/") else path).split("/")

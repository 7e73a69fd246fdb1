"""What HTTP handlers are given and how they are registered.

A handler is a plain function of the engine and a request; it returns an `Answer`. All that is asynchronous (reading the
body, sending the answer) happens around it, in `shell.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from json import JSONDecodeError
from typing import Any

from comfy_contracts import jsontext
from comfy_mock.engine.answers import Answer, ServerTrouble
from comfy_mock.server.forms import Form, header_value, parse_form


class MalformedJson(ServerTrouble):
    """The body was decoded but is not JSON. Most routes leave it to the shell, which answers 500 (protocol 1.3)."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, its body read.

    `path` is percent-decoded, `raw_path` is as sent (without the query). `path_params` holds the variable segments of
    the endpoint's path, percent-decoded once, so one may contain slashes. `query` has the first value of each
    parameter, `headers` the first of each header under its lower-case name.
    """

    method: str
    path: str
    raw_path: str = ""
    path_params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def text(self) -> str:
        """The body, decoded with the charset of its `Content-Type`, else UTF-8 (protocol 1.1).

        Raises `ServerTrouble` where that is impossible: the real server answers 500.
        """
        _, parameters = header_value(self.headers.get("content-type", ""))
        try:
            return self.body.decode(parameters.get("charset") or "utf-8")
        except (LookupError, ValueError) as error:
            raise ServerTrouble(f"the body of {self.method} {self.path} cannot be decoded: {error}") from error

    def json(self) -> Any:
        """The body as JSON, whatever its `Content-Type` says; `NaN` and `Infinity` are legal (protocol 1.1).

        Raises `MalformedJson` where the text is not JSON (an empty body too), and `ServerTrouble` where it is no text
        or where Python cannot hold its value: it is nested too deeply, or a number has too many digits.
        """
        text = self.text()
        try:
            return jsontext.loads(text)
        except JSONDecodeError as error:
            raise MalformedJson(f"the body of {self.method} {self.path} is not JSON: {error}") from error
        except (ValueError, RecursionError) as error:
            raise ServerTrouble(f"the body of {self.method} {self.path} is too much for Python: {error}") from error

    def form(self) -> Form:
        """The fields of a multipart or urlencoded body, of a repeated one the first; empty for other content types.

        Raises `ServerTrouble` where the real server's parser gives up (protocol 2.5).
        """
        return parse_form(self.headers.get("content-type"), self.body)


Handler = Callable[[Any, HttpRequest], Answer]
"""`handler(engine, request)`. It may raise `ServerTrouble`; others are logged as bugs, and answered 500 too."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and a path, and who answers them.

    A path is made of literal segments and variable ones: `{name}` is one non-empty segment, `{name:uuid}` one that is a
    UUID, and `{name:rest}`, at the end, all that follows (it may be empty). `GET` answers `HEAD` as well. `alias` says
    whether it is also there under `/api` (protocol 1.2). The body of a `POST`, `PUT` or `PATCH` is read before the
    handler is called, and refused with 413 when it is too large, unless `reads_body` is false. `fact` names what a
    version must do to have the route (`comfy_contracts.profiles`); None is for routes that all versions have.

    A `slow` handler runs in a thread, so that others are answered meanwhile. It may `stat` and `read` files,
    looks at nothing else that changes, and changes nothing.
    """

    method: str
    path: str
    handler: Handler
    alias: bool = True
    reads_body: bool = True
    fact: str | None = None
    slow: bool = False

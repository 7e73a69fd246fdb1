"""What can go wrong, as one tree.

    ComfyError
    ├── WorkflowError            a workflow that cannot be sent: found before anything was
    │   └── InvalidWorkflow      nodes of it would be refused, or fail: a check against the catalogue says so
    ├── PromptRejected           the server refused the prompt (400); nothing was queued
    ├── PromptFailed             the server took the prompt, and it did not end well
    │   ├── ExecutionFailed      a node raised
    │   ├── ExecutionInterrupted it was interrupted, or cancelled before it ran
    │   └── PromptLost           the server no longer knows it: deleted, or the server was restarted
    ├── WaitTimeout              your timeout passed; the prompt goes on
    ├── ServerUnreachable        no answer: connection refused, lost, or timed out
    ├── ServerError              an answer with a status that means failure
    │   └── NotFound             404
    ├── ProtocolError            an answer that no ComfyUI server gives
    ├── InvalidName              a name or an id that no request can carry
    ├── MetadataError            a picture whose metadata cannot be read
    └── ClientClosed             this client was closed

Every error keeps what it is about as attributes, makes its text from them, and can be pickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comfy_client._workflow_checks import Problem
from comfy_contracts.messages import ExecutionError
from comfy_contracts.messages import ExecutionInterrupted as ExecutionInterruptedMessage
from comfy_contracts.prompts import NodeErrors, ValidationReason

_BODY_CHARS_MAX = 500

_UNREACHABLE_ADVICE = "Is a ComfyUI server running there, and reachable from here?"
_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"
_CERTIFICATE_ADVICE = (
    "Its certificate is not trusted here: give the client `verify`, an ssl.SSLContext that knows who has signed it, or "
    "False to trust whoever answers"
)


class ComfyError(Exception):
    """The root of all errors of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the text alone.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(cls: type[ComfyError], args: tuple[Any, ...], attributes: dict[str, Any]) -> ComfyError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


class WorkflowError(ComfyError, ValueError):
    """A workflow cannot be sent, or built: it is not in API format, a node is missing, an id is taken …"""


class InvalidWorkflow(WorkflowError):
    """Nodes of a workflow would be refused, or fail. `problems` are all reasons, by node and input."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


class PromptRejected(ComfyError):
    """The server refused the prompt, and queued nothing (protocol 3).

    `error` is the reason for the prompt as a whole, `node_errors` what is wrong with single nodes, by node id.
    `titles` are the titles of the prompt's nodes, where they have one.
    """

    def __init__(
        self, error: ValidationReason, node_errors: Mapping[str, NodeErrors], titles: Mapping[str, str] | None = None
    ) -> None:
        self.error = error
        self.node_errors = dict(node_errors)
        self.titles = dict(titles or {})
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [f"the server refused the prompt: {_sentence(self.error)}"]
        lines += described(self.node_errors, self.titles)
        lines.append("Nothing was queued: mend the workflow and send it again")
        return "\n".join(lines)


class PromptFailed(ComfyError):
    """A prompt that the server had taken did not end well; `prompt_id` says which one."""

    prompt_id: str


class ExecutionFailed(PromptFailed):
    """A node raised while the prompt ran (protocol 5.11).

    `node_id`, `node_type`, `exception_type`, `exception_message`, `traceback` (lines of the server's Python) and
    `current_inputs` (the values that the node was called with, by input) are what the server said; `details` is all of
    it, None where the server said only that the run failed. `outputs` is what nodes had shown before, by node id.
    """

    def __init__(
        self, prompt_id: str, details: ExecutionError | None = None, outputs: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        self.prompt_id = prompt_id
        self.details = details
        self.outputs = dict(outputs or {})
        self.node_id = details.node_id if details else None
        self.node_type = details.node_type if details else None
        self.exception_type = details.exception_type if details else None
        self.exception_message = details.exception_message if details else None
        self.traceback = list(details.traceback) if details else []
        self.current_inputs = dict(details.current_inputs) if details and details.current_inputs else {}
        super().__init__(self._text())

    def _text(self) -> str:
        if self.details is None:
            return f"prompt {self.prompt_id} failed; the server's log says why"
        message = (self.exception_message or "").strip() or "no message"
        text = (
            f"node {self.node_id} ({self.node_type}) of prompt {self.prompt_id} raised {self.exception_type}: {message}"
        )
        if self.current_inputs:
            inputs = ", ".join(f"{name}={_short(_single(value))}" for name, value in self.current_inputs.items())
            text += f"\nIts inputs were: {inputs}"
        if self.traceback:
            text += f"\nThe server's traceback (`.traceback`) ends with:\n{self.traceback[-1].rstrip()}"
        return f"{text}\nChange what that node is given, or look at the server's log"


class ExecutionInterrupted(PromptFailed):
    """The prompt was interrupted (protocol 5.12), or cancelled by this client before it ran.

    `node_id` and `node_type` say where, and `details` is all that the server said; None where it had not begun.
    `outputs` is what nodes had shown before.
    """

    def __init__(
        self,
        prompt_id: str,
        details: ExecutionInterruptedMessage | None = None,
        outputs: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.prompt_id = prompt_id
        self.details = details
        self.node_id = node_id = details.node_id if details else None
        self.node_type = node_type = details.node_type if details else None
        self.outputs = dict(outputs or {})
        where = f"at node {node_id} ({node_type})" if node_id is not None else "before a node ran"
        super().__init__(
            f"prompt {prompt_id} was interrupted {where}; submit it again to run it: what had finished is in the cache"
        )


class PromptLost(PromptFailed):
    """The server knows the prompt no longer: it is neither in the queue nor in the history.

    Either somebody deleted it while it was pending, or the server was restarted.
    """

    def __init__(self, prompt_id: str) -> None:
        self.prompt_id = prompt_id
        super().__init__(
            f"prompt {prompt_id} is neither in the server's queue nor in its history: it was deleted, or the server "
            "was restarted. Submit it again"
        )


class WaitTimeout(ComfyError, TimeoutError):
    """The time that you gave has passed. The prompt goes on: wait again, or cancel it.

    `timeout` is in seconds, `state` what was last known of the prompt (`queued`, `running` …).
    """

    def __init__(self, what: str, timeout: float, state: str | None = None) -> None:
        self.what = what
        self.timeout = timeout
        self.state = state
        known = f" (last known: {state})" if state else ""
        super().__init__(f"waited {timeout:g} s for {what}{known}; it goes on: wait again, or cancel it")


class ServerUnreachable(ComfyError, ConnectionError):
    """The server gave no answer. `url` is what was asked, `reason` what the network said.

    `prompt_id` is that of a prompt that may have been queued all the same; None where none was posted.
    """

    prompt_id: str | None = None

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        advice = _CERTIFICATE_ADVICE if _CERTIFICATE in reason else _UNREACHABLE_ADVICE
        super().__init__(f"no answer from {url}: {reason}. {advice}")


class ServerError(ComfyError):
    """The server answered with another status than 200 to 299. `body` is the text that came with it, maybe empty.

    `location` is where a redirection leads to; None where it is none. `prompt_id` is as of `ServerUnreachable`.
    """

    prompt_id: str | None = None

    def __init__(self, method: str, url: str, status: int, body: str = "", location: str | None = None) -> None:
        self.method = method
        self.url = url
        self.status = status
        self.body = body
        self.location = location
        said = body.strip()[:_BODY_CHARS_MAX] or "no text"
        super().__init__(f"{method} {url} was answered {status}: {said}. {self._advice()}")

    def _advice(self) -> str:
        if self.status < 400:
            where = f"It redirects to {self.location}" if self.location else "That is no answer to it"
            return f"{where}: give the client the URL of ComfyUI itself, or the credentials that are wanted there"
        if self.status in (401, 403):
            return "The server, or a proxy before it, wants other credentials or another Origin"
        if self.status == 404:
            return "There is no such thing on this server, or its version does not have this route"
        if self.status == 413:
            return "The body is too large for the server; see its --max-upload-size"
        if self.status in (429, 503):
            return "The server has too much to do: try again later"
        if self.status >= 500:
            return "ComfyUI answers so to a request that it cannot read, too; its log tells"
        return "Check the arguments"


class NotFound(ServerError):
    """The server does not have what was asked for."""


class ProtocolError(ComfyError):
    """An answer is not what a ComfyUI server sends: maybe something else listens there. `problem` says why."""

    def __init__(self, what: str, problem: str) -> None:
        self.what = what
        self.problem = problem
        super().__init__(f"{what} cannot be understood: {problem}. Does a ComfyUI server listen there?")


class InvalidName(ComfyError, ValueError):
    """A name or an id holds half a character (a lone surrogate), so that no request can carry it. `name` is that."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name!r} holds half a character, which no request can carry: give the name as it is")


class MetadataError(ComfyError, ValueError):
    """The metadata of a picture cannot be read: it is no PNG, WEBP or JPEG, or it is damaged."""


class ClientClosed(ComfyError):
    """The client was closed; it cannot be used again."""

    def __init__(self) -> None:
        super().__init__("this client was closed: make a new one")


def maybe_queued(error: ServerUnreachable | ServerError, prompt_id: str) -> ServerUnreachable | ServerError:
    """The error of a prompt whose POST failed in a way that leaves open whether the server takes it."""
    error.prompt_id = prompt_id
    text = (
        f"{error}. The prompt was not sent again, for the server may have queued it all the same, or may yet: "
        f"`client.prompt_status({prompt_id!r})` tells, `client.job` follows it"
    )
    error.args = (text,)
    return error


def described(node_errors: Mapping[str, NodeErrors], titles: Mapping[str, str]) -> list[str]:
    """A line for each thing that is wrong: which node, which input, what the matter is, and what is allowed."""
    lines = []
    for node_id, errors in node_errors.items():
        title = titles.get(node_id)
        node = (
            f"node {node_id} ({errors.class_type})"
            if title is None
            else f"node {node_id} {title!r} ({errors.class_type})"
        )
        lines += [f"  {node}: {_reason(reason)}" for reason in errors.errors]
    return lines


def _reason(reason: ValidationReason) -> str:
    name = reason.extra_info.get("input_name")
    text = f"input {name!r}: {reason.message}" if isinstance(name, str) else reason.message
    if reason.details and reason.details != name:
        text += f": {reason.details}"
    notes = []
    if "received_value" in reason.extra_info:
        notes.append(f"sent {_short(reason.extra_info['received_value'])}")
    allowed = _allowed(reason.extra_info.get("input_config"))
    if allowed:
        notes.append(f"allowed is {allowed}")
    return f"{text} ({'; '.join(notes)})" if notes else text


def _allowed(config: Any) -> str:
    """What an input takes, by its `[type, options]`; empty where it does not say."""
    if not isinstance(config, list) or not config:
        return ""
    kind = config[0]
    options = config[1] if len(config) > 1 and isinstance(config[1], dict) else {}
    choices = kind if isinstance(kind, list) else options.get("options")
    if isinstance(choices, list):
        return _short(choices)
    low, high = options.get("min"), options.get("max")
    if low is not None and high is not None:
        return f"{kind} from {low} to {high}"
    if low is not None or high is not None:
        return f"{kind} from {low}" if high is None else f"{kind} up to {high}"
    return str(kind)


def _sentence(reason: ValidationReason) -> str:
    details = "; ".join(line for line in reason.details.splitlines() if line != reason.message)
    return f"{reason.message}: {details}" if details else reason.message


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _short(value: Any, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"

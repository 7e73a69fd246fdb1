"""`POST /prompt`, step by step (protocol 3.1, 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comfy_contracts.profiles import Profile
from comfy_mock.engine import reasons
from comfy_mock.engine.answers import Answer, ServerTrouble, json_answer
from comfy_mock.engine.jobs import is_canonical_uuid
from comfy_mock.engine.queue import SENSITIVE_KEYS, PromptItem
from comfy_mock.engine.validation import Verdict

_NO_PROMPT = {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided", "extra_info": {}}
_INVALID_ID = {
    "type": "invalid_prompt_id",
    "message": "prompt_id must be a valid UUID",
    "details": "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
    "omit it to let the server generate one",
    "extra_info": {},
}


class NumberCounter:
    """Hands out the numbers of prompts. One is spent before anything is checked, also by prompts that are refused."""

    def __init__(self) -> None:
        self.next = 0

    def number(self, body: Any) -> float:
        """The number of a posted body: its own as a float, else the next one, negative with `front`.

        Raises `ServerTrouble` for bodies that the real server stumbles over; those leave the counter alone.
        """
        try:
            if "number" in body:
                return float(body["number"])
            front = "front" in body and body["front"]
        except (TypeError, ValueError, OverflowError) as problem:
            raise ServerTrouble(f"no number can be had of this body: {problem}") from problem
        number = -self.next if front else self.next
        self.next += 1
        return number


def uuid_of(bits: int) -> str:
    """A UUID of version 4 made of 128 random bits."""
    bits = bits & ~(0xF << 76) | 4 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a body: the answer, and the prompt to enqueue if it was accepted."""

    answer: Answer
    item: PromptItem | None = None


def submit(
    body: Any,
    *,
    counter: NumberCounter,
    mint_id: Callable[[], str],
    validate: Callable[[Any, Any], Verdict],
    now_ms: int,
    usage_source: str | None,
    profile: Profile,
) -> Submission:
    """Judge a posted body.

    `validate` takes the prompt and the partial execution targets, and coerces values in place. `usage_source` is the
    header `Comfy-Usage-Source`, `profile` says what this version does. Raises `ServerTrouble`.
    """
    number = counter.number(body)
    if "prompt" not in body:
        return Submission(json_answer({"error": _NO_PROMPT, "node_errors": {}}, 400))
    if not isinstance(body, dict):
        raise ServerTrouble("the body is no object")
    prompt_id = _prompt_id(body, mint_id, canonical=profile.has("canonical_uuid_prompt_ids"))
    if prompt_id is None:
        return Submission(json_answer({"error": _INVALID_ID, "node_errors": {}}, 400))
    targets = body.get("partial_execution_targets") if profile.has("partial_execution_targets") else None
    verdict = validate(body["prompt"], targets)
    extra_data = _extra_data(body, usage_source if profile.has("usage_source_header") else None)
    if not verdict.valid:
        error = verdict.error if profile.has("missing_node_type") else reasons.before_missing_node_type(verdict.error)
        return Submission(json_answer({"error": error, "node_errors": verdict.node_errors}, 400))
    if not isinstance(extra_data, dict):
        raise ServerTrouble("extra_data is no object")
    hidden = SENSITIVE_KEYS if profile.has("sensitive_keys_hidden") else ()
    sensitive = {key: extra_data.pop(key) for key in hidden if key in extra_data}
    if profile.has("create_time"):
        extra_data["create_time"] = now_ms
    item = PromptItem(number, prompt_id, body["prompt"], extra_data, verdict.outputs, sensitive)
    answer = json_answer({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})
    return Submission(answer, item)


def _prompt_id(body: dict[str, Any], mint_id: Callable[[], str], *, canonical: bool) -> str | None:
    given = body.get("prompt_id")
    if not canonical:
        return str(given) if "prompt_id" in body else mint_id()
    if given is None:
        return mint_id()
    return given if is_canonical_uuid(given) else None


def _extra_data(body: dict[str, Any], usage_source: str | None) -> Any:
    """The prompt's extra_data with what the server adds; anything but an object is trouble as soon as it is touched."""
    extra_data = body.get("extra_data", {})
    additions = {}
    if "client_id" in body:
        additions["client_id"] = body["client_id"]
    if isinstance(extra_data, dict):
        extra_data = {**extra_data, **additions}
        if usage_source is not None and "comfy_usage_source" not in extra_data:
            extra_data["comfy_usage_source"] = usage_source
        return extra_data
    if additions or usage_source is not None or not isinstance(extra_data, (list, str)):
        raise ServerTrouble(f"extra_data is {type(extra_data).__name__}, not an object")
    return extra_data

"""Whether a live request is a recorded one."""

from __future__ import annotations

import re
from typing import Any

from comfy_mock.server.replay_ids import Trial
from comfy_mock.server.replay_question import Question
from comfy_mock.server.replay_recording import Recorded

_PROMPT_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
"""A prompt id that a client may choose (protocol 3.2)."""


def same_request(recorded: Recorded, live: Question, trial: Trial) -> bool:
    """Whether a live request is a recorded one, with the ids that `trial` takes for it.

    On `POST /prompt` it does not matter who names the prompt: one that the client names is called so in all answers,
    and one that it leaves to the server has the recorded id.
    """
    if not trial.same(*comparable(recorded.question, live)):
        return False
    if recorded.posted is None:
        return True
    named, chosen = (_prompt_id(question) for question in (recorded.question, live))
    return trial.same_id(recorded.posted, chosen or recorded.posted, made=named is None)


def comparable(recorded: Question, live: Question) -> tuple[dict[str, Any], dict[str, Any]]:
    """All that counts of two requests, without what does not where these two are compared."""
    if recorded.omitted:
        return {**recorded.value, "sha256": recorded.sha256}, {**live.without_body, "sha256": live.sha256}
    one, other = dict(recorded.value), dict(live.value)
    if recorded.posts_prompt and _leaves_id_open(recorded.json) and _leaves_id_open(live.json):
        one["json"], other["json"] = ({**value["json"], "prompt_id": None} for value in (one, other))
    return one, other


def _prompt_id(question: Question) -> Any:
    return question.json.get("prompt_id") if isinstance(question.json, dict) else None


def _leaves_id_open(body: Any) -> bool:
    """Whether a prompt gets an id of the server, or one that is as good (protocol 3.2)."""
    if not isinstance(body, dict):
        return False
    chosen = body.get("prompt_id")
    return chosen is None or (isinstance(chosen, str) and _PROMPT_ID.fullmatch(chosen) is not None)

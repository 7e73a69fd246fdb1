"""Situations in which a request fails once: written once for all routes that a client may ask."""

from __future__ import annotations

from comfy_mock.conformance.situations import FAULT, RUNNING, Situation, sampling
from comfy_mock.script import on_request

_GETS = {
    "history": "GET /history/*",
    "queue": "GET /queue",
    "view": "GET /view",
    "object_info": "GET /object_info",
    "jobs": "GET /jobs/*",
}
_REPORT = "Ask again, or report the failure: on a real server a handler has raised (protocol 1.3)."
_AGAIN = "Ask again: a GET may be repeated, and what it asks for is there (RFC 9110, 9.2.2)."
_WAIT = "Ask again after the seconds of `Retry-After` (RFC 6585, 4)."
_POST = "Send it again, for nothing was queued, or report the failure."
_LOOK = (
    "Report the failure, or look for the prompt in /queue and /history: sending it again runs the workflow a second "
    "time (RFC 9110, 9.2.2)."
)


def _status(status: int) -> tuple[Situation, ...]:
    retry_after = 1 if status == 429 else None
    posted = Situation(
        f"{status}_once_post_prompt",
        f"The first POST /prompt is answered with {status}, and nothing is queued.",
        _POST,
        "either",
        rules=(on_request("POST /prompt", name=FAULT, times=1, status=status, retry_after=retry_after), sampling()),
        moves=RUNNING,
    )
    asked = [
        Situation(
            f"{status}_once_get_{name}",
            f"The first {route} is answered with {status}.",
            _REPORT if retry_after is None else _WAIT,
            "either" if retry_after is None else "outputs",
            rules=(on_request(route, name=FAULT, times=1, status=status, retry_after=retry_after), sampling()),
            moves=RUNNING,
        )
        for name, route in _GETS.items()
    ]
    return (posted, *asked)


REQUESTS = (
    *_status(500),
    *_status(429),
    Situation(
        "answer_of_post_prompt_lost",
        "The prompt is queued and runs, but a proxy answers POST /prompt with 502.",
        _LOOK,
        "either",
        rules=(on_request("POST /prompt", name=FAULT, times=1, status=502, handled=True), sampling()),
        moves=RUNNING,
    ),
    Situation(
        "reset_once_get_history",
        "The connection of the first GET /history breaks off without an answer.",
        _AGAIN,
        rules=(on_request("GET /history/*", name=FAULT, times=1, reset="before_headers"), sampling()),
        moves=RUNNING,
    ),
    Situation(
        "picture_cut_short_once",
        "The first GET /view breaks off after 100 bytes of the picture.",
        "Compare what came with Content-Length, and ask again (RFC 9112, 8).",
        rules=(on_request("GET /view", name=FAULT, times=1, truncate=100), sampling()),
        moves=RUNNING,
    ),
)

"""Situations in which the WebSocket fails, or goes deaf, and messages are lost by that."""

from __future__ import annotations

from comfy_mock.conformance.moves import Deafen, Drop, Ended, Held, Interrupt, OtherPrompt, Pause, Release
from comfy_mock.conformance.situations import (
    FAULT,
    RUNNING,
    SAMPLING,
    SAVING,
    SCALING,
    Situation,
    meanwhile,
    sampling,
    saving,
    scaling,
)
from comfy_mock.conformance.workflows import two_outputs
from comfy_mock.engine.script.model import Failure, Hold
from comfy_mock.script import on_node, on_socket

_ASK = "Open it again under the same client id and ask /history: what was missed does not come again (protocol 6.1)."


SOCKETS = (
    Situation(
        "dropped_and_the_run_goes_on",
        "In mid-run the WebSocket breaks off without a word; the run goes on half a second later.",
        _ASK,
        rules=(sampling(),),
        moves=(Held(SAMPLING), Pause(0.3), Drop(), Pause(0.6), Release(SAMPLING)),
    ),
    Situation(
        "dropped_and_the_run_ends",
        "In mid-run the WebSocket breaks off without a word, and the run ends at once.",
        _ASK,
        rules=(sampling(),),
        moves=(Held(SAMPLING), Pause(0.3), Drop(), Pause(0.05), Release(SAMPLING)),
    ),
    Situation(
        "closed_and_the_run_ends",
        "In mid-run the WebSocket is closed with code 1001, as by a proxy, and the run ends at once.",
        _ASK,
        rules=(sampling(),),
        moves=(Held(SAMPLING), Pause(0.3), Drop("close"), Pause(0.05), Release(SAMPLING)),
    ),
    Situation(
        "dropped_before_the_run_begins",
        "The WebSocket breaks off after its first message, while the prompt waits behind another one.",
        _ASK,
        rules=(
            on_node("EmptyImage", steps=4, holds=Hold(name="other", at_step=2)),
            sampling(),
            on_socket(name=FAULT, times=1, end="abort", messages=1),
        ),
        before=(OtherPrompt(client="other"), Held("other")),
        moves=(*meanwhile("other", seconds=0.6), *RUNNING),
    ),
    Situation(
        "dropped_twice",
        "In mid-run the WebSocket breaks off, and so does the one that is opened in its place.",
        _ASK,
        rules=(
            sampling(),
            on_socket(name="again", connection=2, optional=True, times=1, end="abort", messages=1),
        ),
        moves=(Held(SAMPLING), Pause(0.3), Drop(), Pause(0.8), Release(SAMPLING)),
    ),
    Situation(
        "executed_lost",
        "The WebSocket breaks off before the first of two `executed`, and can be opened again before the second.",
        "Take the outputs from the history: an `executed` that was missed does not come again (protocol 4.3, 6.1).",
        workflow=two_outputs(),
        rules=(
            sampling(),
            saving(),
            scaling(),
        ),
        moves=(*RUNNING, Held(SAVING), Drop(), Pause(0.05), Release(SAVING), *meanwhile(SCALING, seconds=0.8)),
    ),
    Situation(
        "success_lost",
        "Before the last node a second WebSocket with the same client id comes and goes, which silences the first: "
        "`executed`, `execution_success` and `executing` null never come, and pings are answered.",
        "Ask /history or /queue every few seconds while nothing comes (protocol 6.2).",
        rules=(sampling(), saving()),
        moves=(*RUNNING, *meanwhile(SAVING, Deafen(), seconds=0.1)),
    ),
    Situation(
        "error_lost",
        "As success_lost, and the last node raises: `execution_error` never comes.",
        "Ask /history, and report the failure that stands there (protocol 4.3, 6.2).",
        "failure",
        rules=(sampling(), saving(Failure(type="ValueError", message="no room"))),
        moves=(*RUNNING, *meanwhile(SAVING, Deafen(), seconds=0.1)),
    ),
    Situation(
        "interruption_lost",
        "As success_lost, and the run is interrupted: `execution_interrupted` never comes.",
        "Ask /history, and report the interruption that stands there (protocol 4.3, 6.2).",
        "failure",
        rules=(sampling(),),
        moves=(Held(SAMPLING), Pause(0.3), Deafen(), Interrupt(), Release(SAMPLING)),
    ),
    Situation(
        "closing_message_lost",
        "The WebSocket breaks off after `execution_success`: `executing` null never comes.",
        "Take `execution_success` for the end, or ask /history (protocol 5.16, 6.9).",
        rules=(sampling(), on_socket(name=FAULT, end="abort", event="execution_success", times=1)),
        moves=(*RUNNING, Ended()),
    ),
    Situation(
        "silent_network",
        "In mid-run the connection is dead without being closed: nothing comes, and no ping is answered.",
        "Send pings, or ask /history every few seconds while nothing comes (protocol 6.4: the server never pings).",
        rules=(sampling(),),
        moves=(Held(SAMPLING), Pause(0.3), Drop("silence"), Pause(0.05), Release(SAMPLING)),
        patience=3.0,
    ),
    Situation(
        "socket_refused_once",
        "The first upgrade of a WebSocket is answered with 503.",
        "Try again, follow the run by asking /history, or report that it cannot be followed.",
        "either",
        rules=(sampling(), on_socket(name=FAULT, times=1, refuse=503)),
        moves=RUNNING,
    ),
)

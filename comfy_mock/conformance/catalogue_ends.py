"""Situations in which the prompt does not end well, and those in which another one's end is mistaken for it."""

from __future__ import annotations

from comfy_mock.conformance.moves import Delete, Held, Interrupt, Move, OtherPrompt, Pause, Posted, Release, ResumeQueue
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
from comfy_mock.conformance.workflows import blocked, quick, refused, text_to_image, two_outputs
from comfy_mock.engine.custom_nodes import CustomNode
from comfy_mock.engine.nodes.api import Blocker
from comfy_mock.engine.script.model import Failure, Hold
from comfy_mock.script import on_node, on_server

BLOCKS = CustomNode("Blocks", {}, outputs=["IMAGE"], function=lambda: Blocker("this is turned off"))
"""A class whose output blocks what comes after it, and says so."""

_RAISES = Failure(type="ValueError", message="bad latent", at_step=2)
_OWN = "Look at the prompt_id: messages of other prompts reach this socket, too (protocol 6.5)."

ENDS = (
    Situation(
        "fails",
        "A node raises in mid-run.",
        "Report the failure at `execution_error` (protocol 5.11).",
        "failure",
        rules=(on_node("KSampler", steps=4, holds=Hold(name=SAMPLING, at_step=2), raises=_RAISES),),
        moves=RUNNING,
    ),
    Situation(
        "fails_at_once",
        "The prompt has failed within milliseconds of POST /prompt.",
        "Look at `status` in the history: a prompt that stands there may have failed (protocol 4.3).",
        "failure",
        workflow=quick(),
        rules=(on_node("EmptyImage", raises=Failure(type="ValueError", message="bad size")),),
    ),
    Situation(
        "fails_after_an_output",
        "The first output node saves its picture, then the second one raises.",
        "Report the failure, also where there are outputs: `status_str` is `error` (protocol 4.3, 5.11).",
        "failure",
        workflow=two_outputs(),
        rules=(sampling(), scaling(Failure(type="OSError", message="disk full"))),
        moves=(*RUNNING, *meanwhile(SCALING)),
    ),
    Situation(
        "interrupted",
        "Somebody interrupts the run.",
        "Report the interruption at `execution_interrupted` (protocol 5.12).",
        "failure",
        rules=(sampling(),),
        moves=(Held(SAMPLING), Pause(0.3), Interrupt(), Release(SAMPLING)),
    ),
    Situation(
        "deleted_while_pending",
        "Somebody deletes the prompt while it waits: only `status` comes, and the history never has it.",
        "Notice that the prompt is in neither /queue nor /history, and report that it is lost (protocol 4.2).",
        "failure",
        queue_paused=True,
        moves=(Posted(), Pause(0.5), Delete()),
    ),
    Situation(
        "refused",
        "POST /prompt is answered with 400: the server does not have the checkpoint.",
        "Report the failure (protocol 3.2).",
        "failure",
        workflow=refused(),
        queues=False,
    ),
    Situation(
        "restart_in_mid_run",
        "The server is killed and started again in mid-run: queue and history are gone.",
        "Notice that the prompt is in neither /queue nor /history, and report that it is lost (protocol 4.3, 6.4).",
        "failure",
        rules=(sampling(times=1), on_server("progress", name=FAULT, value=4, times=1, down=0.5)),
        moves=RUNNING,
        once=False,
    ),
    Situation(
        "restart_while_pending",
        "The server is killed and started again while the prompt waits behind another one.",
        "Notice that the prompt is in neither /queue nor /history, and report that it is lost (protocol 4.3, 6.4).",
        "failure",
        rules=(
            on_node("EmptyImage", steps=4, holds=Hold(name="other", at_step=2), times=1),
            on_server("progress", name=FAULT, value=4, times=1, down=0.5),
        ),
        before=(OtherPrompt(client="other"), Held("other")),
        moves=(Posted(), *meanwhile("other")),
        once=False,
    ),
    Situation(
        "server_gone",
        "The server ends in mid-run, and does not come back.",
        "Give up after some failed attempts, and report that the server is gone.",
        "failure",
        rules=(sampling(), on_server("progress", "stop", name=FAULT, value=4, times=1)),
        moves=RUNNING,
        patience=3.0,
        once=False,
    ),
)


def _before_ours(*moves: Move) -> tuple[Move, ...]:
    return (Posted(), *moves, Pause(0.3), ResumeQueue(), *RUNNING)


OTHERS = (
    Situation(
        "anothers_success",
        "Another prompt with the same client id (a second window) runs first, and ends well: its `executed`, with a "
        "picture of the same node id, `execution_success` and `executing` null come.",
        _OWN,
        rules=(sampling(),),
        queue_paused=True,
        moves=_before_ours(OtherPrompt(graph=quick(width=24, height=24), client="same", front=True)),
    ),
    Situation(
        "anothers_failure",
        "Another prompt with the same client id runs first, and fails: its `execution_error` comes.",
        _OWN,
        rules=(on_node("EmptyImage", raises=Failure(message="not yours")), sampling()),
        queue_paused=True,
        moves=_before_ours(OtherPrompt(client="same", front=True)),
    ),
    Situation(
        "anothers_blocked_node",
        "A prompt without a client id runs first; a node of it is blocked with a message, which everybody gets as "
        "`execution_error`.",
        _OWN,
        rules=(sampling(),),
        nodes=(BLOCKS,),
        queue_paused=True,
        moves=_before_ours(OtherPrompt(graph=blocked(), front=True)),
    ),
    Situation(
        "anothers_interruption",
        "A prompt without a client id runs first and is interrupted, of which everybody gets `execution_interrupted`.",
        _OWN,
        rules=(on_node("EmptyImage", steps=4, holds=Hold(name="other", at_step=2)), sampling()),
        queue_paused=True,
        moves=(
            Posted(),
            OtherPrompt(front=True),
            Pause(0.3),
            ResumeQueue(),
            Held("other"),
            Interrupt(),
            Release("other"),
            *RUNNING,
        ),
    ),
    Situation(
        "anothers_progress",
        "A prompt without a client id runs first: its progress and previews, of the same node ids, go to everybody.",
        _OWN,
        rules=(sampling(previews=True),),
        queue_paused=True,
        moves=(
            Posted(),
            OtherPrompt(graph=text_to_image(seed=8), front=True),
            Pause(0.3),
            ResumeQueue(),
            *RUNNING,
            *RUNNING,
        ),
    ),
    Situation(
        "anothers_failure_meanwhile",
        "Another prompt with the same client id waits behind this one, and fails right after it.",
        _OWN,
        rules=(on_node("EmptyImage", raises=Failure(message="not yours")), sampling(), saving()),
        moves=(
            Held(SAMPLING),
            OtherPrompt(client="same"),
            Pause(0.3),
            Release(SAMPLING),
            Held(SAVING),
            Release(SAVING),
        ),
    ),
)

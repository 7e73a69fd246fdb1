"""Situations in which nothing goes wrong: what runs look like."""

from __future__ import annotations

from comfy_mock.conformance.moves import OtherPrompt, Pause, Posted, ResumeQueue
from comfy_mock.conformance.situations import FAULT, RUNNING, SAMPLING, SCALING, Situation, meanwhile, sampling, scaling
from comfy_mock.conformance.workflows import preview, quick, text_beside, text_to_image, twins, two_outputs
from comfy_mock.engine.script.model import BinaryAt, Hold, MessageAt
from comfy_mock.script import at_point, on_message, on_node, on_request

STRANGE = (
    MessageAt(type="pack.monitor", data={"gpu": 97}, at_step=1),
    MessageAt(type="pack.list", data=[1, 2], at_step=1),
    MessageAt(type="pack.nothing", data=None, at_step=2),
    MessageAt(type="progress.text", data="half", at_step=3),
)

RUNS = (
    Situation(
        "plain",
        "A run of some tenths of a second with progress, and one picture.",
        "Return the picture (protocol 6.10).",
        rules=(sampling(),),
        moves=RUNNING,
    ),
    Situation(
        "quick",
        "The run is over within milliseconds of POST /prompt.",
        "Be ready for a prompt that is over before anything was asked, or a WebSocket opened (protocol 6.9).",
        workflow=quick(),
    ),
    Situation(
        "answer_after_the_end",
        "All messages of the run come before the answer of POST /prompt does.",
        "Keep messages of a prompt_id that is not known yet, or ask /history when it is (protocol 6.9).",
        workflow=quick(),
        rules=(on_request("POST /prompt", name=FAULT, delay=0.4),),
    ),
    Situation(
        "cached",
        "All was run before: `executed` comes without any `executing` before it.",
        "Take `executed` and the end of the prompt for what they are; nothing needs to run (protocol 5.5, 6.10).",
        workflow=quick(),
        before=(OtherPrompt(graph=quick(), client="other", waits=True),),
    ),
    Situation(
        "cached_answer_after_the_end",
        "All was run before, and the messages come before the answer of POST /prompt does.",
        "Keep messages of a prompt_id that is not known yet, or ask /history when it is (protocol 6.9).",
        workflow=quick(),
        before=(OtherPrompt(graph=quick(), client="other", waits=True),),
        rules=(on_request("POST /prompt", name=FAULT, delay=0.4, after=1),),
    ),
    Situation(
        "partly_cached",
        "One of two outputs is in the cache, and comes at once; the other one runs.",
        "Return both: outputs from the cache come in `executed` messages, and stand in the history (protocol 5.5).",
        workflow=two_outputs(),
        before=(OtherPrompt(graph=text_to_image(), client="other", waits=True),),
        rules=(on_node("ImageScale", steps=4, holds=Hold(name=SAMPLING, at_step=2)),),
        moves=RUNNING,
    ),
    Situation(
        "two_outputs",
        "Two output nodes, one after the other.",
        "Wait for the end of the prompt, not for the first `executed` (protocol 6.10).",
        workflow=two_outputs(),
        rules=(sampling(), scaling()),
        moves=(*RUNNING, *meanwhile(SCALING)),
    ),
    Situation(
        "several_pictures",
        "One output node saves three pictures.",
        "Return all pictures of a node: `images` is a list (protocol 7).",
        workflow=text_to_image(batch=3),
        rules=(sampling(),),
        moves=RUNNING,
    ),
    Situation(
        "temporary_picture",
        "The only output is a PreviewImage, whose picture lies in the temp folder.",
        "Take the `type` that the output names along to /view (protocol 2.4, 7).",
        workflow=preview(),
        rules=(on_node("EmptyImage", holds=SAMPLING),),
        moves=RUNNING,
    ),
    Situation(
        "text_beside_a_picture",
        "A second output node shows a text and no picture.",
        "Look into `output` for the keys that it has: an output need not have `images` (protocol 7).",
        workflow=text_beside(),
        rules=(sampling(),),
        moves=RUNNING,
    ),
    Situation(
        "executed_without_output",
        'Of two equal nodes the second is answered from the cache: its `executed` has `"output": null`.',
        "Expect `output` to be null (protocol 5.5, 6.6).",
        workflow=twins(),
        rules=(on_node("EmptyImage", holds=SAMPLING),),
        moves=RUNNING,
    ),
    Situation(
        "previews_between",
        "Previews come as binary frames between the other messages.",
        "Tell previews from results: a preview is no output (protocol 6.8).",
        rules=(sampling(previews=True),),
        moves=RUNNING,
    ),
    Situation(
        "text_frames_between",
        "A node shows lines of text, which come as binary frames of type 3.",
        "Read the first four bytes of a binary frame, and skip types that mean no picture (protocol 6.8).",
        rules=(on_node("KSampler", steps=4, holds=Hold(name=SAMPLING, at_step=2), texts=["loading", "40 % done"]),),
        moves=RUNNING,
    ),
    Situation(
        "messages_of_custom_nodes",
        "Custom nodes send messages of their own: unknown types, with a list, a text or null as data.",
        "Skip messages of unknown types without a look at their data (protocol 6.6).",
        rules=(
            on_node(
                "KSampler",
                steps=4,
                holds=Hold(name=SAMPLING, at_step=2),
                messages=STRANGE,
                binaries=[BinaryAt(event=77, data=b"\0" * 40, at_step=1), BinaryAt(event=78, data=b"", at_step=2)],
            ),
        ),
        moves=RUNNING,
    ),
    Situation(
        "large_frame",
        "A binary frame of 3 MiB comes, as those of large pictures are.",
        "Allow messages of any size: libraries that have a limit (1 MiB, say) close the WebSocket (protocol 6.8, 7).",
        rules=(sampling(), on_message("executed", name=FAULT, times=1, oversize=3 * 2**20)),
        moves=RUNNING,
    ),
    Situation(
        "waits_in_the_queue",
        "The prompt waits for half a second; others run before it, and `status` counts up and down.",
        "Wait for one's own prompt: `status` tells of all, and comes twice with the same number (protocol 4.2).",
        rules=(sampling(),),
        queue_paused=True,
        moves=(
            Posted(),
            OtherPrompt(client="other", front=True),
            OtherPrompt(client="other", front=True),
            Pause(0.5),
            ResumeQueue(),
            *RUNNING,
        ),
    ),
    Situation(
        "slow_to_begin",
        "For half a second the prompt is pending though nothing runs, then it is running without a message.",
        "Do not take a server that is idle for a prompt that is over (protocol 5.1, 5.2).",
        rules=(
            sampling(),
            at_point("before_taken", name=FAULT, hold="taken"),
            at_point("before_first_event", name=FAULT, hold="begun"),
        ),
        moves=(*meanwhile("taken"), *meanwhile("begun"), *RUNNING),
    ),
    Situation(
        "history_is_late",
        "`execution_success` has come, and for half a second the history does not have the prompt.",
        "Ask again: the entry is made after `execution_success`, and is there at `executing` null (protocol 6.9).",
        rules=(sampling(), at_point("after_success_before_history", name=FAULT, hold="late")),
        moves=(*RUNNING, *meanwhile("late")),
    ),
    Situation(
        "closing_message_is_late",
        "The history has the prompt, and for half a second the closing `executing` does not come.",
        "Both are fine: to return what the history has, or to wait (protocol 5.16).",
        rules=(sampling(), at_point("after_history_before_end", name=FAULT, hold="late")),
        moves=(*RUNNING, *meanwhile("late")),
    ),
    Situation(
        "messages_stall",
        "Before `executed` the WebSocket stalls for a second, then everything comes at once.",
        "Wait, or ask the server meanwhile (protocol 6.9: one client that does not read stalls all).",
        rules=(sampling(), on_message("executed", name=FAULT, times=1, delay=1.0)),
        moves=RUNNING,
    ),
)

"""Who gets what, reconnecting, the status of each action, and the log (protocol 4.2, 5.16, 6.1, 6.2, 6.5, 6.10)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from protocol_events import CHECKPOINT, CLIENT, Watch, image, inner, node, said, starts, steps, text_to_image

from comfy_contracts.frames import PreviewFrame
from comfy_contracts.messages import Logs, Status
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.nodes.api import Call, Output, Send, Text

RECORDED: dict[str, Any] = {"preview_method": "latent2rgb", "models": {"checkpoints": [CHECKPOINT]}}
PLAIN = {"1": image(), "2": node("PreviewAny", source="x")}


def heard(watch: Watch, prompt: dict[str, Any], client_id: Any) -> tuple[list[str], list[str]]:
    """The kinds of messages that the client and another one got of a prompt."""
    other = watch.engine.connect("other")
    watch.take()
    watch.post(prompt, client_id)
    got: dict[int, list[str]] = {watch.socket: [], other: []}
    while True:
        for out in watch.engine.take_outgoing():
            for socket in out.sockets:
                kind = "binary" if isinstance(out.payload, PreviewFrame) else said([out.payload])[0].split("{")[0]
                got[socket].append(kind.split(" ")[0])
        due = watch.engine.next_wakeup()
        if due is None:
            return got[watch.socket], got[other]
        watch.engine.advance(due)


ALL = {"status"}
ADDRESSED = {"execution_start", "execution_cached", "execution_success", "executing", "executed"}
PROGRESS = {"PS", "progress", "binary"}


@pytest.mark.parametrize(
    ("client_id", "to_client", "to_other"),
    [
        (CLIENT, ALL | ADDRESSED | PROGRESS, ALL),
        (None, ALL | PROGRESS, ALL | PROGRESS),
        ("nobody", ALL, ALL),
        ("", ALL, ALL),
        (5, ALL, ALL),
        (True, ALL, ALL),
        ([], ALL, ALL),
        ({}, ALL, ALL),
    ],
)
def test_who_gets_what(client_id: Any, to_client: set[str], to_other: set[str]) -> None:
    first, second = heard(Watch(**RECORDED), text_to_image(1), client_id)
    assert (set(first), set(second)) == (to_client, to_other)
    assert first.count("status") == second.count("status") == 3


def test_text_and_messages_of_custom_nodes_go_to_all() -> None:
    def talk(_call: Call) -> Any:
        yield Text("hello")
        yield Send("my.event", {"a": 1})
        return Output()

    watch = Watch()
    watch.add("Talk", talk, outputs=[], output_node=True)
    _client, other = heard(watch, {"1": node("Talk")}, CLIENT)
    assert other == ["status", "status", "text", "my.event", "status"]


def test_an_error_without_a_client_is_only_a_status() -> None:
    bad = {"1": image(), "2": node("SaveImage", images=["1", 0], filename_prefix="../x")}
    watch = Watch()
    watch.post(bad, None)
    assert said(watch.rest())[-2:] == ["PS{1 f 1.0/1.0, 2 r 0.0/1.0}", "status 0"]


def test_three_prompts_in_a_row() -> None:
    watch = Watch()
    for source in "abc":
        watch.post({"1": node("PreviewAny", source=source)})
    frame = ["status", "execution_start", "execution_success", "executing null"]
    events = [event for event in said(watch.rest()) if event.startswith(tuple(frame))]
    run = ["execution_start", "execution_success"]
    assert events == [
        *("status 1", "status 2", "status 3"),
        *("status 3", *run, "status 2", "executing null"),
        *("status 2", *run, "status 1", "executing null"),
        *("status 1", *run, "status 0", "executing null"),
    ]


def test_success_is_told_before_the_history_has_it_and_status_after() -> None:
    watch = Watch()
    prompt_id = watch.post(PLAIN)
    events = said(watch.until(lambda payload: said([payload]) == ["execution_success"]))
    assert events[-1] == "execution_success"
    assert prompt_id not in watch.engine.queue.history
    watch.until(lambda payload: isinstance(payload, Status))
    assert prompt_id in watch.engine.queue.history


# -- reconnecting (6.1)


def reconnected(watch: Watch, client_id: str = CLIENT) -> list[str]:
    return said(watch.take(watch.engine.connect(client_id)))


def test_before_during_and_after_a_run() -> None:
    watch = Watch(**RECORDED)
    watch.post(text_to_image(2))
    watch.take()
    assert reconnected(watch) == ["status 1"]
    watch.socket = watch.engine.connect(CLIENT)
    watch.until(starts("4"))
    assert reconnected(watch, "other") == ["status 1"]
    assert reconnected(watch) == ["status 1", "executing 4"]
    watch.socket = watch.engine.connect(CLIENT)
    watch.until(steps(1))
    assert reconnected(watch) == ["status 1", "executing 3"]
    watch.rest()
    assert reconnected(watch) == ["status 0"]


def test_the_marker_has_nothing_but_the_node() -> None:
    watch = Watch()
    watch.post(PLAIN)
    watch.until(starts("2"))
    socket = watch.engine.connect(CLIENT)
    payloads = watch.take(socket)
    assert payloads[1].to_builtins() == {"node": "2"}


def test_a_cached_node_is_no_marker() -> None:
    watch = Watch()
    watch.run(PLAIN)
    watch.post(PLAIN)
    watch.until(lambda payload: said([payload])[0].startswith("PS"))
    assert reconnected(watch) == ["status 1"]


# -- status messages (4.2)


def statuses(watch: Watch) -> int:
    return sum(isinstance(payload, Status) for payload in watch.take())


def test_status_messages_of_each_verb() -> None:
    watch = Watch()
    running = watch.post(PLAIN)
    watch.until(starts("2"))
    a, b, c = (watch.post({"1": node("PreviewAny", source=source)}) for source in "abc")
    assert statuses(watch) == 3
    for verb, count in [
        (lambda: watch.engine.edit_queue({"delete": [a]}), 1),
        (lambda: watch.engine.edit_queue({"delete": [running, a, "unknown"]}), 0),
        (lambda: watch.engine.cancel(b), 1),
        (lambda: watch.engine.cancel(c), 2),
        (lambda: watch.engine.cancel(c), 0),
        (lambda: watch.engine.edit_queue({"clear": True}), 1),
        (lambda: watch.engine.edit_queue({}), 0),
        (lambda: watch.engine.edit_history({"clear": True}), 0),
        (lambda: watch.engine.free({"free_memory": True}), 0),
        (lambda: watch.engine.submit({"prompt": {}}), 0),
        (lambda: watch.engine.interrupt(), 0),
    ]:
        verb()
        assert statuses(watch) == count
    watch.rest()
    assert list(watch.engine.queue.history) == [running]


@pytest.mark.parametrize("body", [{}, [], "", "text", ["x"], {"delete": "abc"}, {"delete": {"a": 1}}, {"clear": 0}])
@pytest.mark.parametrize("verb", ["edit_queue", "edit_history"])
def test_bodies_that_do_nothing(body: Any, verb: str) -> None:
    watch = Watch()
    watch.run(PLAIN)
    answer = getattr(watch.engine, verb)(body)
    assert (answer.status, answer.body) == (200, b"")
    assert len(watch.engine.queue.history) == 1


@pytest.mark.parametrize("body", [None, 5, {"delete": 5}])
@pytest.mark.parametrize("verb", ["edit_queue", "edit_history"])
def test_bodies_that_are_trouble(body: Any, verb: str) -> None:
    with pytest.raises(ServerTrouble):
        getattr(Watch().engine, verb)(body)


def test_an_unhashable_id_is_trouble_only_in_the_history() -> None:
    watch = Watch()
    watch.run(PLAIN)
    assert watch.engine.edit_queue({"delete": [[1]]}).status == 200
    with pytest.raises(ServerTrouble):
        watch.engine.edit_history({"delete": [[1]]})


# -- the log


def logged(watch: Watch) -> list[str]:
    return [payload.entries[0].m for payload in watch.rest() if isinstance(payload, Logs)]


def test_subscribers_are_told_of_runs_and_others_are_not() -> None:
    watch = Watch()
    watch.post(PLAIN)
    assert logged(watch) == []
    watch.engine.logs.subscribe(CLIENT, enabled=True)
    watch.post(PLAIN)
    first, last = logged(watch)
    assert first == "\x1b[32m[INFO]\x1b[0m got prompt\n"
    assert "Prompt executed in 0.0" in last


def test_a_subscriber_that_is_gone_when_a_line_is_written_must_subscribe_again() -> None:
    watch = Watch()
    watch.engine.logs.subscribe(CLIENT, enabled=True)
    for number in range(100):
        watch.engine.logs.subscribe(f"gone {number}", enabled=True)
    watch.post(PLAIN)
    assert list(watch.engine.logs.subscribers) == [CLIENT]
    assert len(logged(watch)) == 2
    watch.engine.disconnect(watch.socket)
    watch.socket = watch.engine.connect(CLIENT)
    watch.post(PLAIN)
    assert len(logged(watch)) == 2, "no line was written while it had no socket"
    watch.engine.disconnect(watch.socket)
    watch.engine.log("nobody listens")
    watch.socket = watch.engine.connect(CLIENT)
    watch.post(PLAIN)
    assert logged(watch) == []


def test_the_log_comes_before_the_status_and_after_the_end() -> None:
    watch = Watch()
    watch.engine.logs.subscribe(CLIENT, enabled=True)
    watch.post(PLAIN)
    events = said(watch.rest())
    assert events[:2] == ["logs", "status 1"]
    assert events[-1] == "logs"


def test_a_refused_prompt_is_logged_with_its_reasons() -> None:
    watch = Watch()
    watch.engine.logs.subscribe(CLIENT, enabled=True)
    answer = watch.engine.submit({"prompt": {"2": node("PreviewImage")}})
    assert json.loads(answer.body)["node_errors"]["2"]["errors"][0]["details"] == "images"
    lines = "".join(logged(watch))
    for line in ("got prompt", "PreviewImage 2", "Required input is missing: images", "invalid prompt"):
        assert line in lines
    assert inner(said(watch.rest())) == []

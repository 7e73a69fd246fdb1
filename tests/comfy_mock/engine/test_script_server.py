"""What a script does to the server as a whole: a paused queue, memory, models, messages out of nowhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from protocol_events import CLIENT, NOW, image, node
from scripted_watch import ScriptedWatch, told

from comfy_contracts import messages
from comfy_contracts.frames import UnknownFrame
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.script.model import Memory, ModelChange, NodeMatch, NodeRule, PointRule, Script
from comfy_mock.engine.system_stats import system_stats

PREVIEWED = {"1": image(), "2": node("PreviewImage", images=["1", 0])}
MODELS = {"checkpoints": ["a.safetensors"], "loras": ["l.safetensors"]}


# -- the queue


def test_a_paused_queue_takes_nothing_until_it_is_resumed() -> None:
    watch = ScriptedWatch(script=Script(queue_paused=True))
    watch.post(PREVIEWED)
    watch.engine.advance(NOW + 3600)
    assert told(watch.take()) == ["status 1"]
    assert watch.engine.next_wakeup() is None
    assert watch.engine.standing() == ["the queue is paused: resume_queue()"]
    watch.engine.resume_queue()
    assert told(watch.rest())[-1] == "executing null"
    assert not watch.engine.standing()


def test_a_prompt_is_taken_when_the_queue_is_resumed_and_not_before() -> None:
    watch = ScriptedWatch(script=Script(queue_paused=True))
    watch.post(PREVIEWED)
    watch.engine.present = lambda: NOW + 100
    watch.engine.resume_queue()
    watch.engine.advance(NOW + 101)
    (start,) = [payload for payload in watch.take() if isinstance(payload, messages.ExecutionStart)]
    assert start.timestamp / 1000 >= NOW + 100


def test_the_running_prompt_goes_on_when_the_queue_is_paused() -> None:
    watch = ScriptedWatch()
    watch.post(PREVIEWED)
    watch.until(lambda payload: isinstance(payload, messages.ExecutionStart))
    watch.post(PREVIEWED)
    watch.engine.pause_queue()
    assert told(watch.rest())[-1] == "executing null"
    assert (len(watch.engine.queue.history), watch.engine.queue_remaining) == (1, 1)


def test_a_queue_that_is_paused_while_a_prompt_is_about_to_be_taken() -> None:
    watch = ScriptedWatch(PointRule(point="before_taken", hold="gap", times=1))
    watch.post(PREVIEWED)
    watch.rest()
    watch.engine.pause_queue()
    watch.director.release()
    watch.rest()
    assert watch.engine.queue_remaining == 1
    watch.engine.resume_queue()
    watch.rest()
    assert watch.engine.queue_remaining == 0


def test_memory_is_freed_while_the_queue_is_paused() -> None:
    watch = ScriptedWatch()
    watch.run(PREVIEWED)
    watch.engine.pause_queue()
    watch.post(PREVIEWED)
    watch.engine.free({"free_memory": True})
    watch.rest()
    watch.engine.resume_queue()
    watch.rest()
    assert watch.entry["status"]["messages"][1][1]["nodes"] == []


# -- memory


def test_memory_figures() -> None:
    plain = system_stats(Options())
    engine = Engine(now=NOW, script=Script(memory=Memory(ram_free=1, vram_total=24, torch_vram_free=0)))
    stats = system_stats(Options(), engine.memory)
    assert stats["system"] == plain["system"] | {"ram_free": 1}
    assert stats["devices"] == [plain["devices"][0] | {"vram_total": 24, "torch_vram_free": 0}]
    assert system_stats(Options(), Engine(now=NOW).memory) == plain


def test_memory_figures_of_a_graphics_card() -> None:
    card = {"name": "cuda:0 X : native", "type": "cuda", "index": 0, "vram_total": 8, "vram_free": 8}
    stats = system_stats(Options(system={"devices": [card], "ram_free": 5}), Memory(vram_free=2, ram_free=6))
    assert stats["devices"] == [card | {"vram_free": 2}]
    assert stats["system"]["ram_free"] == 6


# -- models


def offered(watch: ScriptedWatch) -> dict[str, Any]:
    """The checkpoints, wherever the server tells them."""
    info = json.loads(watch.engine.object_info.json_bytes())
    definition = watch.engine.definition("CheckpointLoaderSimple")
    assert definition is not None
    return {
        "models": watch.engine.models.names("checkpoints"),
        "listing": sorted(file.name for file in watch.engine.models.listing("checkpoints")),
        "object_info": info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0],
        "other class": info["ImageOnlyCheckpointLoader"]["input"]["required"]["ckpt_name"][0],
        "definition": definition.required["ckpt_name"][0],
    }


def everywhere(*names: str) -> dict[str, Any]:
    return {key: list(names) for key in ("models", "listing", "object_info", "other class", "definition")}


def loads(watch: ScriptedWatch, name: str) -> int:
    prompt = {
        "1": node("CheckpointLoaderSimple", ckpt_name=name),
        "2": node("CLIPTextEncode", clip=["1", 1], text="t"),
        "3": node("PreviewAny", source=["2", 0]),
    }
    return watch.engine.submit({"prompt": prompt}).status


def test_models_change_after_so_many_prompts() -> None:
    changes = [
        ModelChange(folder="checkpoints", add=["c.ckpt"], remove=["a.safetensors"], after_prompts=2),
        ModelChange(folder="checkpoints", add=["b.safetensors"]),
    ]
    watch = ScriptedWatch(script=Script(models=changes), models=MODELS)
    assert offered(watch) == everywhere("a.safetensors", "b.safetensors")
    assert loads(watch, "a.safetensors") == 200
    assert loads(watch, "c.ckpt") == 400
    assert offered(watch) == everywhere("a.safetensors", "b.safetensors")
    assert loads(watch, "b.safetensors") == 200
    assert offered(watch) == everywhere("b.safetensors", "c.ckpt")
    assert loads(watch, "a.safetensors") == 400
    assert loads(watch, "c.ckpt") == 200


def test_models_change_when_told_to() -> None:
    watch = ScriptedWatch(models=MODELS)
    watch.engine.change_models("checkpoints", add=["z.ckpt"], remove=["a.safetensors"])
    assert offered(watch) == everywhere("z.ckpt")
    watch.engine.change_models("checkpoints", add=["a.safetensors"])
    assert offered(watch) == everywhere("a.safetensors", "z.ckpt")
    watch.engine.change_models("clip", add=["t5.safetensors"])
    assert watch.engine.models.names("text_encoders") == ["t5.safetensors"]


def test_a_model_in_the_storage_is_hidden_and_stays_there() -> None:
    files = MemoryFiles()
    path = "/comfyui/models/loras/stored.safetensors"
    files.write(path, (2).to_bytes(8, "little") + b"{}", now=NOW)
    engine = Engine(Options(models=MODELS), now=NOW, files=files)
    assert engine.models.names("loras") == ["l.safetensors", "stored.safetensors"]
    engine.change_models("loras", remove=["stored.safetensors"])
    assert engine.models.names("loras") == ["l.safetensors"]
    assert [file.name for file in engine.models.listing("loras")] == ["l.safetensors"]
    assert files.read(path)
    engine.change_models("loras", add=["stored.safetensors"])
    assert [file.size for file in engine.models.listing("loras") if file.name.startswith("stored")] == [10]


def test_a_pipeline_of_diffusers() -> None:
    engine = Engine(Options(models={}), now=NOW)
    engine.change_models("diffusers", add=["pipe"])
    assert engine.models.diffusers() == ["pipe"]
    engine.change_models("diffusers", remove=["pipe"])
    assert engine.models.diffusers() == []


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"folder": "lora"}, ValueError, "there is no folder of models 'lora'"),
        ({"folder": "loras", "remove": ["l.safetensor"]}, ValueError, "did you mean 'l.safetensors'"),
        ({"folder": "loras", "add": "l.safetensors"}, TypeError, "must be a list of file names"),
    ],
)
def test_wrong_changes(change: dict[str, Any], error: type[Exception], said: str) -> None:
    engine = Engine(Options(models=MODELS), now=NOW)
    with pytest.raises(error, match=said):
        engine.change_models(**change)
    assert engine.models.names("loras") == ["l.safetensors"]


def test_a_script_with_a_wrong_change_fails_at_once() -> None:
    changes = [
        ModelChange(folder="loras", remove=["new.ckpt"], after_prompts=2),
        ModelChange(folder="loras", add=["new.ckpt"], after_prompts=1),
    ]
    Engine(Options(models=MODELS), now=NOW, script=Script(models=changes))
    with pytest.raises(ValueError, match=r"there is no file 'new\.ckpt'"):
        Engine(Options(models=MODELS), now=NOW, script=Script(models=changes[:1]))


# -- messages


def test_a_message_to_everybody_or_to_one() -> None:
    watch = ScriptedWatch()
    other = watch.engine.connect("other")
    watch.engine.take_outgoing()
    seen: list[Any] = []
    watch.engine.witness = seen.append
    watch.engine.push(messages.Unknown("my.event", {"x": 1}))
    watch.engine.push(UnknownFrame(9, b"x"), CLIENT)
    watch.engine.push(messages.Unknown("lost"), "nobody")
    outgoing = watch.engine.take_outgoing()
    assert [(out.sockets, out.payload) for out in outgoing] == [
        ((watch.socket, other), messages.Unknown("my.event", {"x": 1})),
        ((watch.socket,), UnknownFrame(9, b"x")),
    ]
    assert seen == [messages.Unknown("my.event", {"x": 1}), UnknownFrame(9, b"x"), messages.Unknown("lost")]


# -- a restart


def test_what_outlives_a_restart() -> None:
    rules = [NodeRule(match=NodeMatch(node="2", prompt=2), text="second"), NodeRule(match=NodeMatch(node="1"), times=1)]
    changes = [ModelChange(folder="loras", add=["b.ckpt"], after_prompts=1)]
    director = Director(Script(rules=rules, models=changes, memory=Memory(ram_free=3)))
    before = Engine(Options(models=MODELS), now=NOW, script=director)
    before.submit({"prompt": PREVIEWED})
    before.change_models("loras", remove=["l.safetensors"])
    before.pause_queue()
    after = Engine(Options(models=MODELS), now=NOW + 60, script=director)
    assert after.models.names("loras") == ["b.ckpt"]
    assert after.memory == Memory(ram_free=3)
    assert after.next_wakeup() is None
    after.submit({"prompt": PREVIEWED})
    assert after.queue.first is not None
    assert after.queue.first.place == 2
    assert after.next_wakeup() is None
    after.resume_queue()
    while (due := after.next_wakeup()) is not None:
        after.advance(due)
    assert [use.served for use in director.uses] == [1, 1]


def test_the_place_of_a_prompt() -> None:
    watch = ScriptedWatch()
    first, second = watch.post(PREVIEWED), watch.post(PREVIEWED)
    assert [watch.engine.place_of(each) for each in (first, second, "?")] == [1, 2, None]
    watch.rest()
    assert watch.engine.place_of(first) == 1

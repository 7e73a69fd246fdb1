"""What is learned of recorded runs, played again: the same messages, the same outputs, the same times."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest
from websockets.sync.client import connect

from comfy_client import Client, Workflow
from comfy_contracts import messages
from comfy_contracts.har import Entry, Har, load, packaged_recordings, save
from comfy_contracts.record import RecordingProxy
from comfy_contracts.recorder import Recorder
from comfy_contracts.verify import Verifier
from comfy_mock import Catalogue, ComfyMock, CustomNode
from comfy_mock.cli import main
from comfy_mock.cli.fresh_fakes import fake_for
from comfy_mock.engine.learning import Lesson, learn
from comfy_mock.engine.script.checks import check
from comfy_mock.script import (
    BinaryAt,
    Failure,
    MessageAt,
    OutputFile,
    Previews,
    Script,
    TextAt,
    load_script,
    on_node,
)

RECORDINGS = packaged_recordings("0.33.0")


def picture(colour: str, kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    PIL.Image.new("RGB", (96, 48), colour).save(content, kind)
    return content.getvalue()


def like_the_recorded(har: Har, **more: Any) -> ComfyMock:
    """A fake with the switches and models of the recorded server, that sends no previews by itself."""
    with_switches = fake_for(har).arguments
    return ComfyMock(**{**with_switches, "clock": "instant", "preview_method": "none", **more})


async def verified(har: Har, server: ComfyMock) -> tuple[str, tuple[Any, ...]]:
    async with server:
        outcome = await Verifier(server.url).verify("learned", har)
        return outcome.verdict, outcome.reasons or outcome.differences


# -- recordings of the real server


@pytest.mark.parametrize(
    "name",
    [
        "t2i_batch3",  # a sampler with previews; three files, all of which were fetched
        "t2i_preview_metadata",  # previews that say whose they are
        "t2i_preview_method_extra_data",  # the same node with and without previews
        "progress_text",  # a line of text by a class that the fake plays by itself
        "error_in_middle_node",
    ],
)
def test_a_real_server_is_played_again(name: str) -> None:
    har = load(RECORDINGS[name])
    lesson = learn([har], with_failures=True)
    assert check(lesson.script, lesson.catalogue) == []
    server = like_the_recorded(har, script=lesson.script, preview_method="latent2rgb")
    assert asyncio.run(verified(har, server)) == ("equal", ())
    assert [use.label for use in server.rules if not use.served] == []
    assert lesson.classes == {}


def by_class(lesson: Lesson, class_type: str) -> Any:
    (rule,) = [rule for rule in lesson.rules if rule.match.class_type == class_type]
    return rule


def test_a_fetched_file_comes_again_to_the_byte() -> None:
    har = load(RECORDINGS["t2i_fresh"])
    (fetched,) = [entry.response.body for entry in har.exchanges() if "/view?" in entry.request.url]
    (file,) = by_class(learn([har]), "SaveImage").files
    assert (file.filename, file.type, file.data) == ("ComfyUI_00001_.png", "output", fetched)


Moment = tuple[str, Any, Any, float]


def moments(told: list[tuple[Any, float]]) -> list[Moment]:
    """When each node began, and each of its steps came, in seconds after the first."""
    of_nodes = [(said, at) for said, at in told if isinstance(said, (messages.Executing, messages.Progress))]
    return [(said.type, said.node, getattr(said, "value", None), at - of_nodes[0][1]) for said, at in of_nodes]


def test_nodes_take_as_long_as_they_took() -> None:
    """By the manual clock, to the hundredth of a second; between nodes the server itself takes some milliseconds."""
    har = load(RECORDINGS["t2i_fresh"])
    (posted,) = [entry.request.body for entry in har.exchanges() if entry.request.method == "POST"]
    with like_the_recorded(har, script=learn([har]).script, clock="manual") as server:
        assert httpx.post(f"{server.url}/prompt", content=posted).status_code == 200
        server.advance(60)
        again = moments([(event.payload, event.at) for event in server.journal.events()])
    (socket,) = har.sockets()
    texts = [each for each in socket.messages if each.type == "receive" and isinstance(each.payload, str)]
    recorded = moments([(messages.decode(each.payload), float(each.time)) for each in texts])
    assert [moment[:3] for moment in again] == [moment[:3] for moment in recorded]
    assert [moment[3] for moment in again] == pytest.approx([moment[3] for moment in recorded], abs=0.03)
    assert len(recorded) == 12
    assert recorded[-1][3] > 10


def test_kept_pictures_are_the_recorded_ones() -> None:
    har = load(RECORDINGS["t2i_fresh"])
    (socket,) = har.sockets()
    shown = [message.payload[8:] for message in socket.messages if isinstance(message.payload, bytes)]
    assert by_class(learn([har], keep_pictures=True), "KSampler").previews == Previews(images=shown)
    with PIL.Image.open(io.BytesIO(shown[0])) as first:
        drawn = Previews(format="JPEG", size=max(first.size))
    assert by_class(learn([har]), "KSampler").previews == drawn


def test_a_sampler_is_played_by_itself_for_another_number_of_steps() -> None:
    rule = by_class(learn([load(RECORDINGS["t2i_fresh"])]), "KSampler")
    assert (rule.steps, rule.match.inputs) == (4, {"steps": 4})


def test_failures_and_interruptions_are_told() -> None:
    failed = learn([load(RECORDINGS["error_in_middle_node"])])
    assert not any(rule.raises for rule in failed.rules)
    assert any("failed" in note and "--with-failures" in note for note in failed.notes)
    interrupted = learn([load(RECORDINGS["interrupt_targeted"])], with_failures=True)
    assert "node 3 (KSampler) was interrupted, or the recording ends in the middle of it: not learned" in (
        interrupted.notes
    )


# -- custom nodes


CUSTOM = (
    CustomNode("MyUpscale", {"image": "IMAGE", "factor": "FLOAT", "name": "STRING"}, ["IMAGE", "INT"]),
    CustomNode("MyCombine", {"images": "IMAGE", "count": "INT", "loop": "BOOLEAN"}, output_node=True),
)
PICTURES = [picture("red"), picture("green"), picture("blue")]
VIDEO, FRAME = b"a video, to some", picture("red", "PNG")
ITEM = {"format": "video/h264-mp4", "frame_rate": 8.0}
RULES = [
    on_node(
        "MyUpscale",
        duration=0.05,
        steps=3,
        step_time=[0.06, 0.02, 0.04],
        previews=Previews(images=PICTURES),
        texts=[TextAt(text="at the beginning"), TextAt(text="halfway, größer", at_step=2)],
        messages=[MessageAt(type="pack.stage", data={"stage": [1, None]}, at_step=2)],
        binaries=[BinaryAt(event=77, data=b"\0\1\xff", at_step=3)],
    ),
    on_node(
        "MyCombine",
        duration=0.1,
        messages=[MessageAt(type="pack.done", data={"node": "3"})],
        ui={"gifs": [], "seconds": [1.5], "images": []},
        files=[
            OutputFile(filename="clip_00001.mp4", subfolder="clips", key="gifs", data=VIDEO, more=ITEM),
            OutputFile(filename="clip_00001.png", type="temp", data=FRAME),
        ],
    ),
]
WORKFLOW: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}},
    "2": {"class_type": "MyUpscale", "inputs": {"image": ["1", 0], "factor": 2.5, "name": "x4"}},
    "3": {"class_type": "MyCombine", "inputs": {"images": ["2", 0], "count": ["2", 1], "loop": True}},
}
SHOWN = {
    "gifs": [{"filename": "clip_00001.mp4", "subfolder": "clips", "type": "output", **ITEM}],
    "seconds": [1.5],
    "images": [{"filename": "clip_00001.png", "subfolder": "", "type": "temp"}],
}


def session(url: str) -> dict[str, bytes]:
    """A run of the workflow, and its files."""
    with Client(url) as client:
        client.run(Workflow.from_json(json.dumps(WORKFLOW)))
    (entry,) = httpx.get(f"{url}/history").json().values()
    assert entry["outputs"] == {"3": SHOWN}
    assert list(entry["outputs"]["3"]) == list(SHOWN)
    files = [*SHOWN["gifs"], *SHOWN["images"]]
    return {file["filename"]: httpx.get(f"{url}/view", params=file).content for file in files}


async def recorded(server: ComfyMock, *, asks: bool) -> Har:
    """What passes by in a session, as `comfy-mock record` has it."""
    recorder = Recorder()
    async with RecordingProxy(server.url, recorder) as proxy:
        for node in CUSTOM if asks else ():
            await asyncio.to_thread(httpx.get, f"{proxy.url}/object_info/{node.class_type}")
        assert await asyncio.to_thread(session, proxy.url) == {"clip_00001.mp4": VIDEO, "clip_00001.png": FRAME}
    return recorder.har(2_000_000_000.0)


@pytest.fixture(scope="module", params=[True, False], ids=["with object_info", "without"])
def custom(request: pytest.FixtureRequest) -> Iterator[Har]:
    with ComfyMock(clock="real") as server:
        for node in CUSTOM:
            server.add_node(node)
        server.add_rules(*RULES)
        yield asyncio.run(recorded(server, asks=request.param))


def test_custom_nodes_are_played_without_their_code(
    custom: Har, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line: recorded, learned, and served again, to the byte."""
    save(custom, tmp_path / "run.har")
    with pytest.raises(SystemExit) as exit_:
        main(["learn", str(tmp_path / "run.har"), "--out", str(tmp_path / "mine"), "--keep-pictures"])
    assert exit_.value.code == 0
    said = capsys.readouterr()
    scenario, catalogue = tmp_path / "mine" / "scenario.yaml", tmp_path / "mine" / "catalogue.json"
    assert said.out == f"comfy-mock serve --script {scenario} --add-nodes {catalogue}\n"
    classes = Catalogue.load(catalogue)
    assert set(classes) == {"MyCombine", "MyUpscale"}
    asked = any("/object_info/" in entry.request.url for entry in custom.exchanges())
    assert ("made up" in said.err) is not asked

    nodes = Catalogue.packaged().merged(classes.entries)
    with ComfyMock(script=scenario, catalogue=nodes) as server:
        assert session(server.url) == {"clip_00001.mp4": VIDEO, "clip_00001.png": FRAME}
        previews = [event.payload.image for event in server.journal.events("preview")]
    assert previews == PICTURES
    again = ComfyMock(script=scenario, catalogue=nodes)
    assert asyncio.run(verified(custom, again)) == ("equal", ())


def test_what_was_learned_is_what_the_nodes_did(custom: Har) -> None:
    lesson = learn([custom], keep_pictures=True)
    assert lesson.script == learn([custom], keep_pictures=True).script
    assert not [note for note in lesson.notes if "made up from" not in note]
    upscale, combine = by_class(lesson, "MyUpscale"), by_class(lesson, "MyCombine")
    assert (upscale.texts, upscale.messages, upscale.binaries) == (RULES[0].texts, RULES[0].messages, RULES[0].binaries)
    assert (upscale.steps, upscale.previews) == (3, RULES[0].previews)
    assert (combine.ui, combine.files, combine.messages) == (RULES[1].ui, RULES[1].files, RULES[1].messages)


def test_classes_are_made_up_from_how_they_are_used() -> None:
    with ComfyMock(accept_any_node=True) as server:
        har = asyncio.run(recorded_prompt(server, WORKFLOW))
    classes = learn([har]).classes
    assert {name: kind[0] for name, kind in classes["MyUpscale"]["input"]["optional"].items()} == {
        "image": "IMAGE",
        "factor": "FLOAT",
        "name": "STRING",
    }
    assert len(classes["MyUpscale"]["output"]) == 2
    assert [classes[name]["output_node"] for name in ("MyUpscale", "MyCombine")] == [False, True]


def evenly(har: Har) -> Har:
    """The recording with a millisecond between any two messages, however busy the machine was."""
    value = har.to_builtins()
    for entry, socket in zip(value["log"]["entries"], har.entries, strict=True):
        for index, message in enumerate(entry.get("_webSocketMessages", ())):
            message["time"] = socket.started + index / 1000
    return Har.from_builtins(value)


async def recorded_prompt(server: ComfyMock, *workflows: dict[str, Any]) -> Har:
    """The workflows, run one after the other by the reference client."""

    def run(url: str) -> None:
        with Client(url) as client:
            for workflow in workflows:
                client.run(Workflow.from_json(json.dumps(workflow)))

    recorder = Recorder()
    async with RecordingProxy(server.url, recorder) as proxy:
        await asyncio.to_thread(run, proxy.url)
    return evenly(recorder.har(2_000_000_000.0))


# -- which rule


def shown(text: str, **which: Any) -> Any:
    return on_node("MyText", ui={"text": [text]}, **which)


def texts(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {str(index): {"class_type": "MyText", "inputs": inputs} for index, inputs in enumerate(nodes, start=1)}


ONE, TWO = texts({"seed": 1}), texts({"seed": 2})


@pytest.mark.parametrize(
    ("rules", "workflows", "matches"),
    [
        ([shown("a")], [ONE, TWO], [(None, {}, None)]),
        (
            [shown("a", node="1"), shown("b", node="2")],
            [texts({"seed": 1}, {"seed": 2})],
            [("1", {}, None), (None, {}, None)],
        ),
        (
            [shown("a", inputs={"seed": 1}), shown("b", inputs={"seed": 2})],
            [ONE, TWO],
            [(None, {"seed": 1}, None), (None, {}, None)],
        ),
        (
            [shown("a", times=2), shown("b", times=1), shown("a")],
            [ONE, ONE, ONE, ONE],
            [(None, {}, 2), (None, {}, 1), (None, {}, None)],
        ),
    ],
    ids=["all alike", "by node", "by inputs", "one after the other"],
)
def test_rules_match_as_much_as_they_must(
    rules: list[Any], workflows: list[dict[str, Any]], matches: list[tuple[str | None, dict[str, Any], int | None]]
) -> None:
    with ComfyMock(cache="none") as server:
        server.add_node(CustomNode("MyText", {"seed": "INT"}, output_node=True))
        server.add_rules(*rules)
        har = asyncio.run(recorded_prompt(server, *workflows))
    lesson = learn([har])
    assert [(rule.match.node, rule.match.inputs, rule.times) for rule in lesson.rules] == matches
    assert [rule.ui for rule in lesson.rules] == [rule.ui for rule in rules]
    with ComfyMock(cache="none", script=lesson.script, catalogue=lesson.catalogue) as server:
        again = asyncio.run(recorded_prompt(server, *workflows))
    assert shown_by(again) == shown_by(har)


def shown_by(har: Har) -> list[Any]:
    said = [message for socket in har.sockets() for message in heard_by(socket)]
    return [(message.node, message.output) for message in said if isinstance(message, messages.Executed)]


def heard_by(socket: Entry) -> list[messages.Message]:
    return [messages.decode(each.payload) for each in socket.messages if isinstance(each.payload, str)]


def test_several_recordings_are_one_lesson() -> None:
    hars = []
    for text in ("a", "b"):
        with ComfyMock() as server:
            server.add_node(CustomNode("MyText", {"seed": "INT"}, output_node=True))
            server.add_rules(shown(text))
            hars.append(asyncio.run(recorded_prompt(server, ONE)))
    assert [(rule.ui, rule.times) for rule in learn(hars).rules] == [({"text": ["a"]}, 1), ({"text": ["b"]}, None)]


# -- what is not as it seems


SAMPLING = json.loads((Path(__file__).parents[2] / "comfy_mock" / "data" / "default_workflow.json").read_text())


def progress_of(har: Har) -> list[float]:
    (socket,) = har.sockets()
    return [message.value for message in heard_by(socket) if isinstance(message, messages.Progress)]


def test_steps_that_came_too_fast_to_be_told_are_not_told_again() -> None:
    """Protocol 6.7: without previews an update waits for a tenth of a second."""
    with ComfyMock(script=Script(rules=[on_node("KSampler", steps=30, step_time=0.03, throttled=True)])) as server:
        har = asyncio.run(recorded_prompt(server, SAMPLING))
    assert progress_of(har) == [1, 5, 9, 13, 17, 21, 25, 29, 30]
    lesson = learn([har])
    rule = by_class(lesson, "KSampler")
    assert (rule.steps, rule.throttled) == (30, True)
    with ComfyMock(script=lesson.script) as server:
        again = asyncio.run(recorded_prompt(server, SAMPLING))
    assert progress_of(again) == [1, 5, 9, 13, 17, 21, 25, 29, 30]


def test_files_that_nobody_fetched_have_a_picture_in_them() -> None:
    file = OutputFile(filename="mine_00007_.png", data=FRAME)
    with ComfyMock() as server:
        server.add_node(CustomNode("MyText", {"seed": "INT"}, output_node=True))
        server.add_rules(on_node("MyText", files=file))
        har = asyncio.run(recorded_prompt(server, ONE))
    lesson = learn([har])
    (learned,) = by_class(lesson, "MyText").files
    assert (learned.filename, learned.key) == ("mine_00007_.png", "images")
    with PIL.Image.open(io.BytesIO(learned.data)) as placeholder:
        assert placeholder.format == "PNG"
    assert "node 1 (MyText): nobody fetched mine_00007_.png, so its content is made up, or empty" in lesson.notes


def test_a_failure_comes_again_with_its_words() -> None:
    failure = Failure(type="pack.BadWeather", message="no sun\ntoday", at_step=2, traceback=["  line\n"])
    rules = [on_node("MyText", times=1, steps=4, raises=failure), shown("a")]
    with ComfyMock() as server:
        server.add_node(CustomNode("MyText", {"seed": "INT"}, output_node=True))
        server.add_rules(*rules)

        def run(url: str) -> None:
            with Client(url) as client:
                with pytest.raises(Exception, match="no sun"):
                    client.run(Workflow.from_json(json.dumps(ONE)))
                client.run(Workflow.from_json(json.dumps(ONE)))

        async def record() -> Har:
            recorder = Recorder()
            async with RecordingProxy(server.url, recorder) as proxy:
                await asyncio.to_thread(run, proxy.url)
            return evenly(recorder.har(2_000_000_000.0))

        har = asyncio.run(record())
    assert [(rule.raises, rule.steps, rule.times) for rule in learn([har], with_failures=True).rules] == [
        (failure, 4, 1),
        (None, None, None),
    ]
    assert [rule.ui for rule in learn([har]).rules] == [{"text": ["a"]}]


def test_models_that_the_fake_does_not_have_are_added() -> None:
    workflow = json.loads(json.dumps(SAMPLING))
    loader = next(node for node in workflow.values() if node["class_type"] == "CheckpointLoaderSimple")
    loader["inputs"]["ckpt_name"] = "of_mine.safetensors"
    with ComfyMock(models={"checkpoints": ["of_mine.safetensors"]}) as server:
        har = asyncio.run(recorded_prompt(server, workflow))
    script = learn([har]).script
    with ComfyMock(script=script) as server, Client(server.url) as client:
        assert client.run(Workflow.from_json(json.dumps(workflow))).images


def test_what_comes_though_nothing_runs_is_no_nodes() -> None:
    def run(server: ComfyMock, url: str) -> None:
        with connect(f"{url.replace('http', 'ws')}/ws?clientId=c", proxy=None) as websocket:
            for workflow in (ONE, TWO):
                httpx.post(f"{url}/prompt", json={"prompt": workflow, "client_id": "c"})
                while '"node": null' not in websocket.recv(timeout=20):
                    pass
                server.push(messages.Unknown(type="pack.monitor", data={"load": 1}))
                assert "pack.monitor" in websocket.recv(timeout=20)

    async def record(server: ComfyMock) -> Har:
        recorder = Recorder()
        async with RecordingProxy(server.url, recorder) as proxy:
            await asyncio.to_thread(run, server, proxy.url)
        return evenly(recorder.har(2_000_000_000.0))

    both = [MessageAt(type="pack.monitor", data={"load": 2}), MessageAt(type="pack.stage")]
    with ComfyMock() as server:
        server.add_node(CustomNode("MyText", {"seed": "INT"}, output_node=True))
        server.add_rules(on_node("MyText", ui={"text": ["a"]}, messages=both))
        lesson = learn([asyncio.run(record(server))])
    assert by_class(lesson, "MyText").messages == [MessageAt(type="pack.stage")]
    assert any("'pack.monitor' comes though nothing runs" in note for note in lesson.notes)


def test_messages_for_the_client_alone_are_told_from_those_for_everybody() -> None:
    """Where another client was there that could have heard them."""

    def run(url: str) -> None:
        sockets = f"{url.replace('http', 'ws')}/ws"
        with (
            connect(f"{sockets}?clientId=other", proxy=None) as other,
            connect(f"{sockets}?clientId=c", proxy=None) as websocket,
        ):
            httpx.post(f"{url}/prompt", json={"prompt": ONE, "client_id": "c"})
            while '"node": null' not in websocket.recv(timeout=20):
                pass
            while '"pack.all"' not in other.recv(timeout=20):
                pass

    async def record(server: ComfyMock) -> Har:
        recorder = Recorder()
        async with RecordingProxy(server.url, recorder) as proxy:
            await asyncio.to_thread(run, proxy.url)
        return recorder.har(2_000_000_000.0)

    sent = [MessageAt(type="pack.mine", to="client"), MessageAt(type="pack.all")]
    with ComfyMock() as server:
        server.add_node(CustomNode("MyText", {"seed": "INT"}, output_node=True))
        server.add_rules(on_node("MyText", ui={"text": ["a"]}, messages=sent))
        lesson = learn([asyncio.run(record(server))])
    assert by_class(lesson, "MyText").messages == sent


def test_a_client_that_only_polls_teaches_what_was_shown() -> None:
    """Without a socket no message tells how long a node takes."""

    def run(url: str) -> None:
        httpx.post(f"{url}/prompt", json={"prompt": ONE})
        while not httpx.get(f"{url}/history").json():
            pass

    async def record(server: ComfyMock) -> Har:
        recorder = Recorder()
        async with RecordingProxy(server.url, recorder) as proxy:
            await asyncio.to_thread(run, proxy.url)
        return evenly(recorder.har(2_000_000_000.0))

    with ComfyMock() as server:
        server.add_node(CustomNode("MyText", {"seed": "INT"}, output_node=True))
        server.add_rules(shown("a"))
        lesson = learn([asyncio.run(record(server))])
    rule = by_class(lesson, "MyText")
    assert (rule.ui, rule.duration) == ({"text": ["a"]}, None)
    assert "MyText was never seen at work: how long it takes is not known" in lesson.notes


def test_a_written_lesson_reads_as_it_was_learned(custom: Har, tmp_path: Path) -> None:
    lesson = learn([custom], keep_pictures=True)
    for name, content in lesson.files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert load_script(tmp_path / "scenario.yaml") == lesson.script

"""Progress and previews: their order, their sizes, and who gets which (protocol 5.17, 6.5, 6.7, 6.8)."""

from __future__ import annotations

import io
import json
from typing import Any

import PIL.Image
import pytest
from protocol_events import CHECKPOINT, CLIENT, Watch, image, inner, node, said, text_to_image

from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata

RECORDED: dict[str, Any] = {"preview_method": "latent2rgb", "models": {"checkpoints": [CHECKPOINT]}}
FLAGGED = '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'


def sampler_events(events: list[str]) -> list[str]:
    """What was said while the sampler, the fifth node of the graph, was at work; of progress only the last node."""
    short = [f"PS {event.rpartition(', ')[2][:-1]}" if event.startswith("PS") else event for event in events]
    return short[short.index("executing 3") + 1 : short.index("executing 8") - 1]


def test_without_the_flag_the_preview_follows_progress() -> None:
    assert sampler_events(Watch(**RECORDED).run(text_to_image(2))) == [
        "PS 3 r 1/2",
        "progress 1/2 3",
        "binary 1",
        "PS 3 r 2/2",
        "progress 2/2 3",
        "binary 1",
        "PS 3 f 2/2",
    ]


def test_with_the_flag_it_precedes_progress_and_has_metadata() -> None:
    watch = Watch(**RECORDED)
    watch.engine.receive(watch.socket, FLAGGED)
    watch.take()
    prompt_id = watch.post(text_to_image(1))
    payloads = watch.rest()
    assert sampler_events(inner(said(payloads)))[:3] == ["PS 3 r 1/1", "binary 4", "progress 1/1 3"]
    (preview,) = [payload for payload in payloads if isinstance(payload, PreviewWithMetadata)]
    assert (preview.node_id, preview.prompt_id, preview.display_node_id) == ("3", prompt_id, "3")
    assert (preview.parent_node_id, preview.real_node_id, preview.image_type) == (None, "3", "image/jpeg")


@pytest.mark.parametrize("flag", ["1", '"true"', "false", "null"])
def test_only_true_is_a_flag(flag: str) -> None:
    watch = Watch(**RECORDED)
    watch.engine.receive(watch.socket, FLAGGED.replace("true", flag))
    watch.take()
    assert "binary 1" in watch.run(text_to_image(1))


@pytest.mark.parametrize(("data", "kind"), [("null", "NoneType"), ("[]", "list"), ('"x"', "str")])
def test_flags_that_are_no_object_fail_the_node_that_previews(data: str, kind: str) -> None:
    watch = Watch(**RECORDED)
    watch.engine.receive(watch.socket, json.dumps({"type": "feature_flags", "data": json.loads(data)}))
    watch.take()
    assert watch.run(text_to_image(1))[-2:] == [
        "PS{4 f 1.0/1.0, 6 f 1.0/1.0, 7 f 1.0/1.0, 5 f 1.0/1.0, 3 r 1/1}",
        "execution_error 3",
    ]
    assert watch.error()["exception_message"] == f"'{kind}' object has no attribute 'get'\n"


def test_without_a_client_all_get_the_old_form_even_with_the_flag() -> None:
    watch = Watch(**RECORDED)
    watch.engine.receive(watch.socket, FLAGGED)
    watch.take()
    events = watch.run(text_to_image(1), None)
    assert [event for event in events if not event.startswith("PS")] == ["progress 1/1 3", "binary 1"]


def test_a_client_that_is_not_connected_takes_all_of_it_along() -> None:
    assert Watch(**RECORDED).run(text_to_image(1), "nobody") == []


@pytest.mark.parametrize(
    ("width", "height", "size_max", "size"),
    [
        (128, 64, 512, (512, 256)),
        (64, 128, 512, (256, 512)),
        (64, 64, 512, (512, 512)),
        (200, 72, 512, (512, 184)),
        (64, 24, 100, (100, 38)),
    ],
)
def test_previews_are_scaled_to_the_maximum(width: int, height: int, size_max: int, size: tuple[int, int]) -> None:
    watch = Watch(**RECORDED, preview_size=size_max)
    watch.post(text_to_image(1, width, height))
    (preview,) = [payload for payload in watch.rest() if isinstance(payload, PreviewFrame)]
    picture = PIL.Image.open(io.BytesIO(preview.image))
    assert (picture.size, picture.format, picture.mode) == (size, "JPEG", "RGB")


@pytest.mark.parametrize("server", ["none", "latent2rgb"])
@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ("none", False),
        ("latent2rgb", True),
        ("auto", True),
        ("taesd", True),
        ("default", None),
        ("nonsense", None),
        ("NONE", None),
        (None, None),
        (5, None),
    ],
)
def test_the_preview_method_of_one_prompt(server: str, wanted: Any, shown: bool | None) -> None:
    watch = Watch(**{**RECORDED, "preview_method": server})
    events = watch.run(text_to_image(1), extra_data={"preview_method": wanted})
    assert ("binary 1" in events) == (server == "latent2rgb" if shown is None else shown)
    # and the next prompt is as before
    assert ("binary 1" in watch.run(text_to_image(1, seed=2))) == (server == "latent2rgb")


@pytest.mark.parametrize(("client_id", "flagged"), [(CLIENT, False), (CLIENT, True), (None, False)])
def test_save_image_websocket_counts_from_zero_and_sends_full_size_pngs(client_id: Any, flagged: bool) -> None:
    watch = Watch()
    if flagged:
        watch.engine.receive(watch.socket, FLAGGED)
        watch.take()
    prompt = {"1": image(width=24, batch_size=2), "2": node("SaveImageWebsocket", images=["1", 0])}
    watch.post(prompt, client_id)
    payloads = watch.rest()
    events = [event for event in inner(said(payloads)) if event.startswith(("progress", "binary"))]
    first, second = ("progress 0/2 2", "progress 1/2 2")
    assert events == (["binary 4", first, "binary 4", second] if flagged else [first, "binary 1", second, "binary 1"])
    pictures = [payload.image for payload in payloads if isinstance(payload, (PreviewFrame, PreviewWithMetadata))]
    assert [PIL.Image.open(io.BytesIO(picture)).size for picture in pictures] == [(24, 8)] * 2
    assert watch.entry["outputs"] == {}
    watch.post(prompt)
    assert said(watch.rest())[3] == "execution_cached 1"


def test_text_goes_to_everybody_and_is_not_repeated_when_cached() -> None:
    watch = Watch()
    other = watch.engine.connect("other")
    prompt = {"1": image(batch_size=2), "2": node("GetImageSize", image=["1", 0])}
    prompt["3"] = node("PreviewAny", source=["2", 0])
    watch.post(prompt, "nobody")
    heard: list[Any] = []
    while (due := watch.engine.next_wakeup()) is not None:
        watch.engine.advance(due)
        heard += watch.take(other)
    assert "text 2: width: 8, height: 8\n batch size: 2" in said(heard)
    assert not [event for event in watch.run(prompt) if event.startswith("text")]

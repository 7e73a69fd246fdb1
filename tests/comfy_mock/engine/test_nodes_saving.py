"""Nodes that write files: ui, names, places and contents, on the recorded facts and protocol 7.2."""

from __future__ import annotations

import io
import json
import math
import re
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_calls import NOW, changed, colours, content, make_call, recorded_file, recorded_prompts, run

from comfy_contracts.media_facts import media_facts
from comfy_mock.engine.media import safetensors
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.nodes import behaviour
from comfy_mock.engine.nodes.api import NodeError, Preview, Update
from comfy_mock.engine.values import Audio, Frame, Image, Latent, Mask, Opaque, Subject, Video

PICTURE_SAVERS = ("SaveImage", "PreviewImage", "SaveImageAdvanced")


def inputs_of(class_type: str, images: Image, prefix: str = "p") -> dict[str, Any]:
    inputs: dict[str, Any] = {"images": images, "filename_prefix": prefix}
    return {**inputs, "format": "png"} if class_type == "SaveImageAdvanced" else inputs


def recorded_call(recording: str, class_type: str, values: dict[str, Any], number: int = 0, **others: Any) -> Any:
    """The call of a class in a recorded prompt, with values in place of its links."""
    body = recorded_prompts(recording)[number]
    node = next(node for node in body["prompt"].values() if node["class_type"] == class_type)
    inputs = {**node["inputs"], **values}
    pnginfo = body.get("extra_data", {}).get("extra_pnginfo")
    return make_call(class_type, inputs, prompt=body["prompt"], extra_pnginfo=pnginfo, **others)


# -- against the recordings


def test_a_saved_image_has_the_facts_of_the_recorded_one() -> None:
    call = recorded_call("image_only", "SaveImage", {"images": colours(0, size=(64, 64))}, number=2)
    ui = run(call).ui
    assert ui == {"images": [{"filename": "img_00001_.png", "subfolder": "", "type": "output"}]}
    assert media_facts(content(call, ui["images"][0])) == media_facts(recorded_file("image_only", "img_00002_.png"))


@pytest.mark.parametrize(
    ("class_type", "recording", "name"),
    [
        ("SaveImage", "image_only", "img_00002_.png"),
        ("PreviewImage", "t2i_preview_image", "ComfyUI_temp_okspe_00001_.png"),
        ("MaskPreview", "other_outputs", "ComfyUI_temp_zsxzb_00001_.png"),
    ],
)
def test_pictures_are_compressed_as_the_recorded_ones(class_type: str, recording: str, name: str) -> None:
    inputs = {"images": colours(1), "mask": Mask(colours(1, channels=1).frames), "filename_prefix": "p"}
    call = make_call(class_type, inputs)
    ours, real = content(call, (run(call).ui or {})["images"][0]), recorded_file(recording, name)
    # The second byte of a zlib stream tells the level.
    headers = [data[data.index(b"IDAT") + 4 :][:2] for data in (ours, real)]
    assert headers[0] == headers[1]


def test_a_previewed_mask_has_the_facts_of_the_recorded_one() -> None:
    mask = Mask((Frame(8, 8, 1, fill=(0.5,)),))
    call = recorded_call("other_outputs", "MaskPreview", {"mask": mask})
    ui = run(call).ui
    assert ui is not None
    assert list(ui) == ["images", "animated"]
    assert ui["animated"] == [False]
    (item,) = ui["images"]
    assert re.fullmatch(r"ComfyUI_temp_[a-z]{5}_00001_\.png", item["filename"])
    assert (item["subfolder"], item["type"]) == ("", "temp")
    ours = content(call, item)
    recorded = "ComfyUI_temp_zsxzb_00001_.png"
    assert media_facts(ours) == media_facts(recorded_file("other_outputs", recorded))
    with PIL.Image.open(io.BytesIO(recorded_file("other_outputs", recorded))) as real:
        assert real.getpixel((0, 0)) == (127, 127, 127)


def test_compared_images_have_the_recorded_ui() -> None:
    call = recorded_call("other_outputs", "ImageCompare", {"image_a": colours(1, 2)})
    ui = run(call).ui
    assert ui is not None
    names = [item["filename"] for item in ui["a_images"]]
    letters = names[0][len("comfy.compare.a_temp_") :][:5]
    assert names == [f"comfy.compare.a_temp_{letters}_0000{number}_.png" for number in (1, 2)]
    assert ui["b_images"] == []
    assert media_facts(content(call, ui["a_images"][0])) == media_facts(
        recorded_file("other_outputs", "comfy.compare.a_temp_lifsy_00001_.png")
    )


def test_both_sides_of_a_comparison_have_the_same_letters() -> None:
    call = make_call("ImageCompare", {"compare_view": "", "image_a": colours(1), "image_b": colours(2)})
    ui = run(call).ui
    assert ui is not None
    sides = [ui[f"{side}_images"][0]["filename"] for side in ("a", "b")]
    assert sides[0].replace("compare.a", "compare.b") == sides[1]


def test_a_saved_latent_has_the_facts_of_the_recorded_one() -> None:
    call = recorded_call("other_outputs", "SaveLatent", {"samples": Latent(2, 2)})
    ui = run(call).ui
    assert ui == {"latents": [{"filename": "x_00001_.latent", "subfolder": "latents", "type": "output"}]}
    ours, real = content(call, ui["latents"][0]), recorded_file("other_outputs", "x_00001_.latent")
    assert media_facts(ours) == media_facts(real)
    assert safetensors.read(ours)[1] == safetensors.read(real)[1]


def test_saved_text_is_the_recorded_one() -> None:
    call = recorded_call("other_outputs", "SaveText", {"text": "hello"})
    output = run(call)
    assert output.ui == {
        "text": ["hello"],
        "files": [{"filename": "t_00001.txt", "subfolder": "", "type": "output"}],
    }
    assert list(output.ui) == ["text", "files"]
    assert content(call, output.ui["files"][0]) == recorded_file("other_outputs", "t_00001.txt")
    assert output.values == ("hello",)


def test_advanced_images_have_the_recorded_names() -> None:
    call = recorded_call("other_outputs", "SaveImageAdvanced", {"images": colours(1, 2)}, number=3)
    ui = run(call).ui
    assert ui is not None
    assert [item["filename"] for item in ui["images"]] == ["adv_00001.png", "adv_00002.png"]


@pytest.mark.parametrize(
    ("class_type", "ending"), [("SaveAnimatedWEBP", "anim_00001_.webp"), ("SaveAnimatedPNG", "anim_00002_.png")]
)
def test_animations_have_the_facts_of_the_recorded_ones(class_type: str, ending: str) -> None:
    call = recorded_call("animated_webp_png", class_type, {"images": colours(10, 20, 20)})
    ui = run(call).ui
    assert ui is not None
    assert ui["animated"] == [True]
    assert media_facts(content(call, ui["images"][0])) == media_facts(recorded_file("animated_webp_png", ending))


@pytest.mark.parametrize(
    ("class_type", "name"),
    [
        ("SaveAudio", "ComfyUI_00001.flac"),
        ("SaveAudioMP3", "ComfyUI_00001.mp3"),
        ("SaveAudioOpus", "ComfyUI_00001.opus"),
    ],
)
def test_sounds_have_the_facts_of_the_recorded_ones(class_type: str, name: str) -> None:
    call = recorded_call("audio_outputs", class_type, {"audio": Audio(0.2, 8000, 1)})
    ui = run(call).ui
    assert ui == {"audio": [{"filename": name, "subfolder": "audio", "type": "output"}]}
    ending = name[-5:] if name.endswith("flac") else name[-4:]
    assert media_facts(content(call, ui["audio"][0])) == media_facts(recorded_file("audio_outputs", ending))


def test_previewed_sounds_have_the_recorded_name() -> None:
    call = recorded_call("audio_outputs", "PreviewAudio", {"audio": Audio(0.2, 8000, 1)})
    ui = run(call).ui
    assert ui is not None
    (item,) = ui["audio"]
    assert re.fullmatch(r"ComfyUI_temp_[a-z]{5}_00001\.flac", item["filename"])
    assert item["type"] == "temp"


def test_films_have_the_facts_of_the_recorded_ones() -> None:
    images = colours(*[255] * 5, size=(64, 64))
    webm = recorded_call("video_webm_mp4", "SaveWEBM", {"images": images})
    mp4 = recorded_call("video_webm_mp4", "SaveVideo", {"video": Video(images, 8.0)})
    for call, name, subfolder in ((webm, "clip_00001_.webm", ""), (mp4, "clip_00001_.mp4", "video")):
        ui = run(call).ui
        assert ui == {
            "images": [{"filename": name, "subfolder": subfolder, "type": "output"}],
            "animated": [True],
        }
        assert media_facts(content(call, ui["images"][0])) == media_facts(recorded_file("video_webm_mp4", name))


# -- the rules of the table


def test_values_are_passed_on() -> None:
    images, mask, audio = colours(1), Mask(colours(1, channels=1).frames), Audio(0.1)
    for class_type, inputs, value in (
        ("SaveImage", {"images": images, "filename_prefix": "p"}, images),
        ("PreviewImage", {"images": images}, images),
        ("MaskPreview", {"mask": mask}, mask),
        ("PreviewAudio", {"audio": audio}, audio),
    ):
        assert run(make_call(class_type, inputs)).values == (value,)


def test_nothing_is_drawn_before_a_file_is_read() -> None:
    drawn = []

    def draw() -> PIL.Image.Image:
        drawn.append(1)
        return PIL.Image.new("RGB", (4, 4))

    images = Image((Frame(4, 4, 3, draw),))
    inputs = {
        "images": images,
        "filename_prefix": "p",
        "fps": 8.0,
        "lossless": True,
        "quality": 80,
        "method": "default",
    }
    calls = [make_call(name, inputs) for name in ("SaveImage", "PreviewImage", "SaveAnimatedWEBP")]
    items = [(run(call).ui or {})["images"][0] for call in calls]
    assert not drawn
    for call, item in zip(calls, items, strict=True):
        content(call, item)
    assert drawn == [1]


def test_the_prefix_of_a_preview_lives_as_long_as_its_node() -> None:
    files, instance = MemoryFiles(), {}
    names = []
    for number in range(3):
        call = make_call("PreviewImage", {"images": colours(1, 2)}, files, instance=instance if number < 2 else {})
        call.random.seed(number)
        names.append([item["filename"] for item in (run(call).ui or {})["images"]])
    letters = [name[0][13:18] for name in names]
    assert letters[0] == letters[1] != letters[2]
    assert names[1] == [f"ComfyUI_temp_{letters[0]}_0000{number}_.png" for number in (3, 4)]


def test_a_mask_preview_has_a_fresh_prefix_at_every_execution() -> None:
    instance: dict[str, Any] = {}
    names = set()
    for number in range(3):
        call = make_call("MaskPreview", {"mask": Mask(colours(1, channels=1).frames)}, instance=instance)
        call.random.seed(number)
        names.add((run(call).ui or {})["images"][0]["filename"])
    assert len(names) == 3


@pytest.mark.parametrize("class_type", PICTURE_SAVERS)
def test_metadata_is_the_prompt_then_the_keys_in_order(class_type: str) -> None:
    prompt = {"1": {"class_type": "LoadImage", "inputs": {"x": "ü"}, "is_changed": ["ab"], "_meta": {"title": "t"}}}
    pnginfo = {"zeta": {"a": math.nan}, "workflow": [1, 2.0]}
    call = make_call(class_type, inputs_of(class_type, colours(1)), prompt=prompt, extra_pnginfo=pnginfo)
    with PIL.Image.open(io.BytesIO(content(call, (run(call).ui or {})["images"][0]))) as image:
        texts = {key: text for key, text in image.info.items() if isinstance(text, str)}
    node = '"class_type": "LoadImage", "inputs": {"x": "\\u00fc"}, "is_changed": ["ab"], "_meta": {"title": "t"}'
    assert list(texts.items()) == [
        ("prompt", f'{{"1": {{{node}}}}}'),
        ("zeta", '{"a": NaN}'),
        ("workflow", "[1, 2.0]"),
    ]


@pytest.mark.parametrize("class_type", PICTURE_SAVERS)
def test_no_metadata_where_it_is_switched_off(class_type: str) -> None:
    call = make_call(
        class_type, inputs_of(class_type, colours(1)), disable_metadata=True, extra_pnginfo={"workflow": {}}
    )
    with PIL.Image.open(io.BytesIO(content(call, (run(call).ui or {})["images"][0]))) as image:
        assert "prompt" not in image.info
        assert "workflow" not in image.info


def test_webm_has_its_metadata_also_where_it_is_switched_off() -> None:
    inputs = {"images": colours(1), "filename_prefix": "p", "codec": "vp9", "fps": 8.0, "crf": 32.0}
    call = make_call("SaveWEBM", inputs, disable_metadata=True, extra_pnginfo={"workflow": {"a": 1}})
    facts = media_facts(content(call, (run(call).ui or {})["images"][0]))
    assert facts["tags"] == {"prompt": dict(call.prompt or {}), "workflow": {"a": 1}}


def test_metadata_is_that_of_the_run_not_of_the_reading() -> None:
    prompt = {"9": {"class_type": "SaveImage", "inputs": {}}}
    call = make_call("SaveImage", {"images": colours(1), "filename_prefix": "p"}, prompt=prompt)
    item = (run(call).ui or {})["images"][0]
    prompt["9"]["inputs"] = {"changed": "later"}
    with PIL.Image.open(io.BytesIO(content(call, item))) as image:
        assert json.loads(image.info["prompt"])["9"]["inputs"] == {}


@pytest.mark.parametrize("class_type", PICTURE_SAVERS)
@given(
    count=st.integers(1, 5),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([3, 4]),
    already=st.integers(0, 120),
)
def test_every_image_gets_a_file_of_its_size(
    class_type: str, count: int, size: tuple[int, int], channels: int, already: int
) -> None:
    files = MemoryFiles()
    ending = ".png" if class_type == "SaveImageAdvanced" else "_.png"
    files.write(f"/comfyui/output/p_{already:05}{ending}", b"", now=0)
    images = colours(*range(count), size=size, channels=channels)
    instance = {"prefix": "q"}
    call = make_call(class_type, inputs_of(class_type, images), files, instance=instance)
    items = (run(call).ui or {})["images"]
    first, prefix = (1, "q") if class_type == "PreviewImage" else (already + 1, "p")
    assert [item["filename"] for item in items] == [f"{prefix}_{first + i:05}{ending}" for i in range(count)]
    for level, item in enumerate(items):
        with PIL.Image.open(io.BytesIO(content(call, item))) as image:
            assert (image.format, image.size, image.mode) == ("PNG", size, "RGB" if channels == 3 else "RGBA")
            assert image.getpixel((0, 0)) == (level,) * channels


def test_an_empty_batch_is_an_error() -> None:
    with pytest.raises(IndexError):
        run(make_call("SaveImage", {"images": Image(()), "filename_prefix": "p"}))


def test_bad_prefixes_are_errors_of_the_node() -> None:
    with pytest.raises(Exception, match="Saving image outside the output folder"):
        run(make_call("SaveImage", {"images": colours(1), "filename_prefix": "../../evil"}))


@pytest.mark.parametrize("class_type", ["SaveAnimatedWEBP", "SaveAnimatedPNG"])
def test_one_frame_is_not_animated(class_type: str) -> None:
    inputs = {
        "images": colours(1),
        "filename_prefix": "p",
        "fps": 6.0,
        "lossless": True,
        "quality": 80,
        "method": "default",
        "compress_level": 4,
    }
    call = make_call(class_type, inputs)
    ui = run(call).ui
    assert ui is not None
    assert list(ui) == ["images"]
    with PIL.Image.open(io.BytesIO(content(call, ui["images"][0]))) as image:
        assert getattr(image, "n_frames", 1) == 1


def test_websocket_images_are_counted_from_nought() -> None:
    call = make_call("SaveImageWebsocket", {"images": colours(1, 2, 3)})
    steps = list(behaviour(call.definition).rule(call))
    assert [(step.value, step.max, step.first) for step in steps if isinstance(step, Update)] == [
        (0, 3, True),
        (1, 3, False),
        (2, 3, False),
    ]
    assert all(type(step.value) is int for step in steps)
    previews = [step.preview for step in steps]
    assert all(isinstance(p, Preview) and (p.format, p.size_max) == ("PNG", None) for p in previews)
    assert call.files.stat("/comfyui/output") is None


def test_websocket_images_are_never_cached() -> None:
    assert changed("SaveImageWebsocket", {"images": None}, MemoryFiles()) == NOW


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        (1, "1"),
        (1.0, "1.0"),
        (True, "True"),
        (None, "None"),
        ({"b": [1, "ü"], "a": None}, '{\n    "b": [\n        1,\n        "ü"\n    ],\n    "a": null\n}'),
        ([], "[]"),
    ],
)
def test_any_value_is_previewed_as_text(value: Any, text: str) -> None:
    output = run(make_call("PreviewAny", {"source": value}))
    assert (output.ui, output.values) == ({"text": [text]}, (text,))


def test_tensors_are_previewed_as_python_prints_them() -> None:
    output = run(make_call("PreviewAny", {"source": colours(255, size=(1, 1))}))
    assert output.values == ("tensor([[[[1., 1., 1.]]]])",)


@pytest.mark.parametrize("extension", ["txt", "csv", "md", "json"])
def test_text_has_the_extension_of_its_format(extension: str) -> None:
    call = make_call("SaveText", {"text": "ü", "filename_prefix": "n/t", "format": extension})
    (item,) = (run(call).ui or {})["files"]
    assert item == {"filename": f"t_00001.{extension}", "subfolder": "n", "type": "output"}
    assert content(call, item) == "ü".encode()


def test_every_clip_of_a_sound_gets_a_file() -> None:
    inputs = {"audio": Audio(0.1, 8000, 1, batch=3), "filename_prefix": "a%batch_num%", "format": "opus"}
    call = make_call("SaveAudioAdvanced", {**inputs, "format.quality": "64k"})
    items = (run(call).ui or {})["audio"]
    assert [item["filename"] for item in items] == ["a0_00001.opus", "a1_00002.opus", "a2_00003.opus"]


@pytest.mark.parametrize(
    ("inputs", "name", "codec"),
    [
        ({"format": "auto", "format.codec": "auto"}, "v_00001_.mp4", "h264"),
        ({"format": "mkv", "format.codec": "av1"}, "v_00001_.mkv", "av1"),
        ({"format": "webm", "format.codec": "auto"}, "v_00001_.webm", "av1"),
        ({"format": "mp4", "codec": "h264"}, "v_00001_.mp4", "h264"),
        (
            {
                "format": "mp4",
                "format.codec": "h264",
                "format.codec.encoding": "re-encode",
                "format.codec.encoding.crf": 5.0,
            },
            "v_00001_.mp4",
            "h264",
        ),
    ],
)
def test_films_have_their_container_and_codec(inputs: dict[str, Any], name: str, codec: str) -> None:
    video = Video(colours(1, 2, 3, size=(32, 16)), 12.0, Audio(0.25))
    call = make_call("SaveVideo", {"video": video, "filename_prefix": "v", **inputs})
    (item,) = (run(call).ui or {})["images"]
    assert item["filename"] == name
    facts = media_facts(content(call, item))
    assert facts["streams"][0]["video"] == codec
    assert len(facts["streams"]) == 2


def test_what_was_no_film_fails_when_it_is_saved() -> None:
    video = Video(Image(()), 1.0, content=b"not a film")
    with pytest.raises(NodeError, match="1094995529") as caught:
        run(make_call("SaveVideo", {"video": video, "filename_prefix": "v", "format": "auto"}))
    assert caught.value.type_name == "av.error.InvalidDataError"


@pytest.mark.parametrize("latent", [Latent(3, 2, 2, 16), Latent(3, 2, 1, 16, frames=5), Latent(2, 2, fill=0.5)])
def test_latents_have_their_shape(latent: Latent) -> None:
    call = make_call("SaveLatent", {"samples": latent, "filename_prefix": "l"})
    tensor = safetensors.read(content(call, (run(call).ui or {})["latents"][0]))[1]["latent_tensor"]
    middle = () if latent.frames is None else (latent.frames,)
    assert tensor.shape == (latent.batch, latent.channels, *middle, latent.height, latent.width)
    assert len(tensor.data) == 4 * math.prod(tensor.shape)


def test_sampled_latents_differ_by_seed_and_are_repeatable() -> None:
    def saved(seed: int) -> bytes:
        latent = Latent(4, 4, fill=None, subject=Subject(seed))
        call = make_call("SaveLatent", {"samples": latent, "filename_prefix": "l"})
        return content(call, (run(call).ui or {})["latents"][0])

    assert saved(1) == saved(1) != saved(2)


@pytest.mark.parametrize(
    "class_type",
    ["CheckpointSave", "CLIPSave", "VAESave", "ModelSave", "ImageOnlyCheckpointSave", "LoraSave", "SaveLoRA"],
)
def test_models_are_written_without_ui(class_type: str) -> None:
    prefix = "prefix" if class_type == "SaveLoRA" else "filename_prefix"
    call = make_call(class_type, {prefix: "models/m"})
    output = run(call)
    assert (output.ui, output.values) == (None, ())
    assert call.files.names("/comfyui/output/models") == ["m_00001_.safetensors"]
    metadata, _ = safetensors.read(call.files.read("/comfyui/output/models/m_00001_.safetensors"))
    assert json.loads(metadata["prompt"]) == call.prompt


def test_data_sets_have_a_text_beside_each_picture() -> None:
    inputs = {
        "images": [colours(1, 2), colours(3)],
        "texts": ["one", "two", "three"],
        "folder_name": ["d/e"],
        "filename_prefix": ["i"],
        "mode": ["overwrite"],
    }
    call = make_call("SaveImageTextDataSetToFolder", inputs)
    assert run(call).ui is None
    names = call.files.names("/comfyui/output/d/e")
    assert len([name for name in names if name.endswith(".png")]) == 3
    assert sorted(call.files.read(f"/comfyui/output/d/e/{name}") for name in names if name.endswith(".txt")) == [
        b"one",
        b"three",
        b"two",
    ]


def test_data_sets_stay_in_the_output_folder() -> None:
    inputs = {"latents": [Latent(1, 1)], "conditioning": [], "folder_name": ["../x"], "shard_size": [10]}
    with pytest.raises(ValueError, match="output folder"):
        run(make_call("SaveTrainingDataset", inputs))


# -- shown while they pass values on


def test_a_crop_shows_its_part() -> None:
    images = Image((Frame(64, 64, 3, fill=(1.0, 0.0, 0.0)),))
    region = {"x": 40, "y": 0, "width": 32, "height": 16}
    call = make_call("ImageCropV2", {"image": images, "crop_region": region})
    output = run(call)
    (cropped,) = output.values
    assert (cropped.width, cropped.height, cropped.frames[0].fill) == (24, 16, (1.0, 0.0, 0.0))
    assert output.ui is not None
    assert output.ui["animated"] == [False]
    assert re.fullmatch(r"ComfyUI_temp_[a-z]{5}_00001_\.png", output.ui["images"][0]["filename"])


def test_an_empty_painter_is_one_colour() -> None:
    call = make_call("Painter", {"mask": "", "width": 64, "height": 128, "bg_color": "#ff0080"})
    image, mask = run(call).values
    assert (image.width, image.height) == (64, 128)
    assert image.frames[0].image().getpixel((0, 0)) == (255, 0, 128)
    assert (mask.width, mask.height, mask.frames[0].fill) == (64, 128, (0.0,))


def test_strokes_are_painted_over_the_image() -> None:
    files = MemoryFiles()
    strokes = PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    strokes.paste((0, 255, 0, 255), (0, 0, 8, 4))
    data = io.BytesIO()
    strokes.save(data, "PNG")
    files.write("/comfyui/input/painter/m.png", data.getvalue(), now=0)
    inputs = {
        "mask": "painter/m.png",
        "width": 64,
        "height": 64,
        "bg_color": "#000000",
        "image": colours(255, size=(8, 8)),
    }
    image, mask = run(make_call("Painter", inputs, files)).values
    picture = image.frames[0].image()
    assert (picture.getpixel((0, 0)), picture.getpixel((0, 7))) == ((0, 255, 0), (255, 255, 255))
    assert (mask.frames[0].image().getpixel((0, 0)), mask.frames[0].image().getpixel((0, 7))) == (255, 0)


def test_a_curve_is_shown_only_with_a_histogram() -> None:
    curve = {"points": [[0.0, 0.0], [1.0, 1.0]], "interpolation": "linear"}
    assert run(make_call("CurveEditor", {"curve": curve})).ui is None
    with_histogram = run(make_call("CurveEditor", {"curve": curve, "histogram": [1, 2]}))
    assert (with_histogram.ui, with_histogram.values) == ({"histogram": [1, 2]}, (curve,))


@pytest.mark.parametrize(
    ("class_type", "inputs", "keys"),
    [
        ("CreateBoundingBoxes", {"width": 64, "height": 32, "editor_state": []}, ["dims"]),
        (
            "CreateBoundingBoxes",
            {"width": 64, "height": 32, "editor_state": [], "bboxes": [{"x": 1}], "background": colours(1)},
            ["dims", "input_bboxes"],
        ),
        (
            "ImageCompositor",
            {"layers": Opaque("LAYERS"), "compositor": {}},
            ["images", "animated", "compositor_layers", "compositor_inputs", "compositor_bboxes"],
        ),
        (
            "GLSLShader",
            {"fragment_shader": "", "size_mode": "from_input", "images.image0": colours(1)},
            ["input_images", "images"],
        ),
        (
            "SAM3_TrackPreview",
            {"track_data": Opaque("T"), "opacity": 0.5, "fps": 24.0, "images": colours(1, 2)},
            ["images", "animated"],
        ),
        ("LossGraphNode", {"loss": Opaque("LOSS_MAP"), "filename_prefix": "l"}, ["images", "animated"]),
        ("SaveGLB", {"mesh": Opaque("MESH"), "filename_prefix": "3d/m"}, ["3d"]),
        ("SaveSVGNode", {"svg": Opaque("SVG"), "filename_prefix": "svg/x"}, ["images"]),
        ("Preview3D", {"model_file": "a.glb", "bg_image": colours(1)}, ["result"]),
    ],
)
def test_ui_keys_and_their_files(class_type: str, inputs: dict[str, Any], keys: list[str]) -> None:
    call = make_call(class_type, inputs)
    ui = run(call).ui
    assert ui is not None
    assert list(ui) == keys
    json.dumps(ui)
    items = [item for values in ui.values() for item in values if isinstance(item, dict) and "filename" in item]
    for item in items:
        assert media_facts(content(call, item)).get("broken") is None


def test_custom_shader_sizes() -> None:
    inputs = {"size_mode": "custom", "size_mode.width": 20, "size_mode.height": 10, "images.image0": colours(1, 2)}
    values = run(make_call("GLSLShader", inputs)).values
    assert [(image.width, image.height, image.batch) for image in values] == [(20, 10, 2)] * 4


def test_models_in_3d_are_written_and_named() -> None:
    model = Opaque("FILE_3D", {"format": "obj", "content": b"v 0 0 0"})
    saver = {
        "model_3d": model,
        "filename_prefix": "3d/m",
        "viewport_state": {"camera_info": {"zoom": 1}},
        "width": 8,
        "height": 9,
    }
    call = make_call("Save3DAdvanced", saver)
    output = run(call)
    assert output.ui == {"result": ["3d/m_00001.obj", {"zoom": 1}, None]}
    assert output.values == (model, None, {"zoom": 1}, 8, 9)
    assert call.files.read("/comfyui/output/3d/m_00001.obj") == b"v 0 0 0"


def test_previewed_models_name_their_file() -> None:
    call = make_call("Preview3D", {"model_file": Opaque("FILE_3D_GLB"), "camera_info": {"a": 1}})
    name, camera, background = (run(call).ui or {})["result"]
    assert call.files.read(f"/comfyui/output/{name}")[:4] == b"glTF"
    assert (camera, background) == ({"a": 1}, None)

"""Nodes that read files: values, masks, change values and errors (protocol 5.13, 7.4)."""

from __future__ import annotations

import gc
import hashlib
import io
from typing import Any

import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_calls import changed, content, make_call, recorded_file, run

from comfy_mock.engine.media import audio as sounds
from comfy_mock.engine.media import safetensors
from comfy_mock.engine.media import video as films
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.nodes.api import NodeError
from comfy_mock.engine.values import Audio, Image, Latent, Mask

INPUT = "/comfyui/input"
INVALID = "[Errno 1094995529] Invalid data found when processing input: '/comfyui/input/a.png'"


def encoded(image: PIL.Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, format=file_format, **options)
    return data.getvalue()


def files_with(**contents: bytes) -> MemoryFiles:
    files = MemoryFiles()
    for name, data in contents.items():
        files.write(f"{INPUT}/{name.replace('__', '.')}", data, now=5.5)
    return files


def load(data: bytes) -> tuple[Image, Mask]:
    image, mask = run(make_call("LoadImage", {"image": "a.png"}, files_with(a__png=data))).values
    return image, mask


def test_an_opaque_picture_has_an_empty_mask_of_64() -> None:
    image, mask = load(encoded(PIL.Image.new("RGB", (20, 10), (1, 2, 3))))
    assert (image.width, image.height, image.channels, image.batch) == (20, 10, 3, 1)
    assert image.frames[0].fill == (1 / 255, 2 / 255, 3 / 255)
    assert (mask.width, mask.height, mask.batch, mask.frames[0].fill) == (64, 64, 1, (0.0,))


def test_alpha_becomes_an_inverted_mask() -> None:
    picture = PIL.Image.new("RGBA", (4, 2), (200, 30, 90, 255))
    picture.putpixel((0, 0), (10, 20, 30, 55))
    image, mask = load(encoded(picture))
    assert image.frames[0].image().getpixel((0, 0)) == (10, 20, 30)
    assert image.frames[0].image().getpixel((1, 0)) == (200, 30, 90)
    assert [mask.frames[0].image().getpixel((x, 0)) for x in (0, 1)] == [200, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png_is_read(mode: str) -> None:
    image, mask = load(
        encoded(PIL.Image.new("RGB", (6, 5), "white").convert("L" if mode == "I;16" else mode).convert(mode))
    )
    assert (image.width, image.height, image.channels) == (6, 5, 3)
    assert image.frames[0].image().mode == "RGB"
    assert mask.width == (6 if mode in ("LA", "RGBA") else 64)


def test_transparent_palettes_have_a_mask() -> None:
    picture = PIL.Image.new("P", (6, 5), 1)
    picture.putpixel((0, 0), 0)
    image, mask = load(encoded(picture, transparency=0))
    assert image.channels == 3
    assert [mask.frames[0].image().getpixel((x, 0)) for x in (0, 1)] == [255, 0]


def test_sixteen_bits_become_eight() -> None:
    picture = PIL.Image.new("I;16", (2, 1), 65535)
    picture.putpixel((1, 0), 257 * 100)
    image, _ = load(encoded(picture))
    assert [image.frames[0].image().getpixel((x, 0)) for x in (0, 1)] == [(255,) * 3, (100,) * 3]


def test_exif_turns_the_picture() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image, _ = load(encoded(PIL.Image.new("RGB", (20, 10)), "JPEG", exif=exif))
    assert (image.width, image.height) == (10, 20)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_animations_are_batches(file_format: str) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(
        frames[0],
        file_format,
        save_all=True,
        append_images=frames[1:],
        duration=100,
        **({"lossless": True} if file_format == "WEBP" else {}),
    )
    image, mask = load(data)
    assert (image.batch, mask.batch) == (3, 3)
    assert [frame.image().getpixel((0, 0)) for frame in image.frames] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_a_recorded_picture_is_loaded() -> None:
    image, mask = load(recorded_file("t2i_batch3", "ComfyUI_00001_.png"))
    assert (image.width, image.height, mask.width) == (64, 64, 64)


@given(st.integers(1, 30), st.integers(1, 30), st.tuples(*[st.integers(0, 255)] * 4), st.booleans())
def test_uniform_pictures_stay_uniform(width: int, height: int, colour: tuple[int, ...], with_alpha: bool) -> None:
    picture = PIL.Image.new("RGBA", (width, height), colour)
    image, mask = load(encoded(picture if with_alpha else picture.convert("RGB")))
    assert (image.width, image.height) == (width, height)
    assert image.frames[0].image().getpixel((0, 0)) == colour[:3]
    assert image.frames[0].fill == tuple(level / 255 for level in colour[:3])
    assert mask.frames[0].fill == ((1 - colour[3] / 255,) if with_alpha else (0.0,))


def decoded_pictures(size: tuple[int, int]) -> int:
    """How many pictures of a size there are in memory."""
    gc.collect()
    return sum(isinstance(thing, PIL.Image.Image) and thing.size == size for thing in gc.get_objects())


def colourful(size: tuple[int, int], mode: str) -> PIL.Image.Image:
    picture = PIL.Image.linear_gradient("L").resize(size).convert("RGB")
    if mode == "RGBA":
        picture.putalpha(PIL.Image.linear_gradient("L").resize(size))
    return picture


@pytest.mark.parametrize(
    ("mode", "options"), [("RGB", {}), ("RGBA", {}), ("RGB", {"save_all": True, "append_images": ["red"]})]
)
def test_a_saved_picture_that_nobody_looks_at_keeps_no_pixels(mode: str, options: dict[str, Any]) -> None:
    size = (61, 67)
    if options:
        options = {**options, "append_images": [PIL.Image.new("RGB", size, name) for name in options["append_images"]]}
    files = files_with(a__png=encoded(colourful(size, mode), **options))
    del options
    output = run(make_call("LoadImage", {"image": "a.png"}, files))
    call = make_call("SaveImage", {"images": output.values[0], "filename_prefix": "a"}, files)
    item = (run(call).ui or {})["images"][0]
    assert decoded_pictures(size) == 0
    with PIL.Image.open(io.BytesIO(content(call, item))) as saved:
        assert saved.tobytes() == colourful(size, "RGB").tobytes()
    if mode == "RGBA":
        mask = output.values[1].frames[0].image()
        assert mask.tobytes() == PIL.ImageOps.invert(colourful(size, mode).getchannel("A")).tobytes()


def test_a_picture_that_was_looked_at_keeps_no_pixels_either() -> None:
    size = (59, 71)
    image, _ = load(encoded(colourful(size, "RGB")))
    assert image.frames[0].image().size == size
    assert decoded_pictures(size) == 0
    assert image.frames[0].image().tobytes() == colourful(size, "RGB").tobytes()


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<svg/>"])
def test_what_is_no_picture_is_invalid_data(data: bytes) -> None:
    with pytest.raises(NodeError) as caught:
        load(data)
    assert (caught.value.type_name, str(caught.value)) == ("av.error.InvalidDataError", INVALID)


def test_directories_and_missing_files() -> None:
    files = MemoryFiles()
    files.make_folder(f"{INPUT}/d", now=0)
    with pytest.raises(NodeError) as directory:
        run(make_call("LoadImage", {"image": "d"}, files))
    assert str(directory.value) == "[Errno 21] Is a directory: '/comfyui/input/d'"
    with pytest.raises(NodeError) as missing:
        run(make_call("LoadImage", {"image": "gone.png"}, files))
    assert str(missing.value) == "[Errno 2] No such file or directory: '/comfyui/input/gone.png'"


def test_annotated_names_choose_the_folder() -> None:
    files = MemoryFiles()
    files.write("/comfyui/output/sub/a.png", encoded(PIL.Image.new("RGB", (3, 3))), now=0)
    image, _ = run(make_call("LoadImage", {"image": "sub/a.png [output]"}, files)).values
    assert image.width == 3
    with pytest.raises(ValueError, match="Invalid file path"):
        run(make_call("LoadImage", {"image": "../output/sub/a.png"}, files))


def test_films_are_loaded_as_batches_too() -> None:
    frames = [PIL.Image.new("RGB", (16, 16), "red")] * 3
    image, _ = load(films.encode(frames, file_format="mp4", codec="h264", frames_per_second=8))
    assert image.batch == 3


@pytest.mark.parametrize(("channel", "level"), [("alpha", 255 - 40), ("red", 10), ("green", 20), ("blue", 30)])
def test_one_channel_is_a_mask(channel: str, level: int) -> None:
    files = files_with(a__png=encoded(PIL.Image.new("RGBA", (5, 4), (10, 20, 30, 40))))
    (mask,) = run(make_call("LoadImageMask", {"image": "a.png", "channel": channel}, files)).values
    assert (mask.width, mask.height) == (5, 4)
    assert mask.frames[0].image().getpixel((0, 0)) == level


def test_no_alpha_is_an_empty_mask() -> None:
    files = files_with(a__png=encoded(PIL.Image.new("RGB", (5, 4))))
    (mask,) = run(make_call("LoadImageMask", {"image": "a.png", "channel": "alpha"}, files)).values
    assert (mask.width, mask.height, mask.frames[0].fill) == (5, 4, (0.0,))


@pytest.mark.parametrize(
    ("class_type", "name"),
    [("LoadImage", "image"), ("LoadImageMask", "image"), ("LoadLatent", "latent"), ("LoadAudio", "audio")],
)
def test_change_values_are_hashes_of_the_file(class_type: str, name: str) -> None:
    files = files_with(a__png=b"content")
    assert changed(class_type, {name: "a.png"}, files) == hashlib.sha256(b"content").hexdigest()
    assert changed(class_type, {name: "a.png [input]"}, files) == hashlib.sha256(b"content").hexdigest()
    with pytest.raises(FileNotFoundError):
        changed(class_type, {name: "gone.png"}, files)
    # A link is passed as null.
    with pytest.raises(Exception, match="NoneType"):
        changed(class_type, {name: None}, files)


def test_the_change_value_of_a_film_is_its_time() -> None:
    assert changed("LoadVideo", {"file": "a.mp4"}, files_with(a__mp4=b"x")) == 5.5
    with pytest.raises(FileNotFoundError):
        changed("LoadVideo", {"file": "gone.mp4"}, MemoryFiles())


def test_a_saved_latent_is_loaded() -> None:
    for latent in (Latent(3, 2, 2, 16), Latent(3, 2, 1, 16, frames=5), Latent(2, 2, fill=None)):
        saving = make_call("SaveLatent", {"samples": latent, "filename_prefix": "l"})
        run(saving)
        (loaded,) = run(make_call("LoadLatent", {"latent": "l_00001_.latent [output]"}, saving.files)).values
        shape = (latent.width, latent.height, latent.batch, latent.channels, latent.frames, latent.fill)
        assert (loaded.width, loaded.height, loaded.batch, loaded.channels, loaded.frames, loaded.fill) == shape


def test_the_recorded_latent_is_loaded() -> None:
    files = files_with(a__latent=recorded_file("other_outputs", "x_00001_.latent"))
    (latent,) = run(make_call("LoadLatent", {"latent": "a.latent"}, files)).values
    assert (latent.width, latent.height, latent.batch, latent.channels, latent.fill) == (2, 2, 1, 4, 0.0)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"hello", NodeError),
        (safetensors.write([]), KeyError),
        (safetensors.write([safetensors.zeros("latent_tensor", "F32", [2])]), ValueError),
    ],
)
def test_what_is_no_latent(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(make_call("LoadLatent", {"latent": "a.latent"}, files_with(a__latent=data)))


def test_sounds_are_loaded() -> None:
    data = sounds.encode(Audio(0.5, 8000, 1, tone=100), file_format="flac")
    (audio,) = run(make_call("LoadAudio", {"audio": "a.flac"}, files_with(a__flac=data))).values
    assert (audio.seconds, audio.sample_rate, audio.channels, audio.content) == (0.5, 8000, 1, data)


def test_what_is_no_sound() -> None:
    with pytest.raises(NodeError, match="1094995529"):
        run(make_call("LoadAudio", {"audio": "a.flac"}, files_with(a__flac=b"hello")))
    picture = encoded(PIL.Image.new("RGB", (3, 3)))
    with pytest.raises(ValueError, match="No audio stream"):
        run(make_call("LoadAudio", {"audio": "a.flac"}, files_with(a__flac=picture)))


def test_films_are_loaded_and_saved_again() -> None:
    frames = [PIL.Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = films.encode(frames, file_format="mkv", codec="h264", frames_per_second=4, audio=Audio(0.5))
    files = files_with(a__mkv=data)
    (video,) = run(make_call("LoadVideo", {"file": "a.mkv"}, files)).values
    assert (video.images.batch, video.fps, video.content) == (2, 4.0, data)
    saving = make_call("SaveVideo", {"video": video, "filename_prefix": "v", "format": "auto"}, files)
    run(saving)
    again = films.read(files.read("/comfyui/output/v_00001_.mp4"))
    assert (again.images.batch, again.fps, again.audio is not None) == (2, 4.0, True)


def test_a_film_that_is_none_is_found_out_later() -> None:
    (video,) = run(make_call("LoadVideo", {"file": "a.mp4"}, files_with(a__mp4=b"hello"))).values
    assert (video.images.batch, video.content) == (0, b"hello")


def test_models_in_3d_are_loaded() -> None:
    files = files_with(a__glb=b"glTF")
    inputs = {"model_file": "a.glb", "image": "", "width": 32, "height": 16}
    image, mask, path, normal, camera, film, model, _ = run(make_call("Load3D", inputs, files)).values
    assert (image.width, image.height, mask.width, normal.height, path, camera, film) == (
        32,
        16,
        32,
        16,
        "a.glb",
        None,
        None,
    )
    assert (model.facts["format"], model.facts["content"]) == ("glb", b"glTF")
    advanced = {"model_file": "none", "viewport_state": {"camera_info": {"z": 1}}, "width": 32, "height": 16}
    assert run(make_call("Load3DAdvanced", advanced, files)).values == (None, None, {"z": 1}, 32, 16)


def test_pictures_of_the_viewer_are_used() -> None:
    files = MemoryFiles()
    files.write("/comfyui/temp/v.png", encoded(PIL.Image.new("RGBA", (7, 7), (9, 8, 7, 0))), now=0)
    inputs = {"model_file": "", "image": {"image": "v.png [temp]", "camera_info": {"z": 2}}, "width": 32, "height": 16}
    image, mask, _, _, camera, _, model, _ = run(make_call("Load3D", inputs, files)).values
    assert (image.width, image.frames[0].fill, mask.frames[0].fill) == (7, (9 / 255, 8 / 255, 7 / 255), (1.0,))
    assert (camera, model) == ({"z": 2}, None)


def intact_files() -> list[bytes]:
    pictures = [PIL.Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    sound = Audio(0.1, 8000, 1, tone=100)
    return [
        *(encoded(pictures[0], file_format) for file_format in ("PNG", "JPEG", "WEBP", "TIFF", "BMP")),
        encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:]),
        *(sounds.encode(sound, file_format=file_format) for file_format in ("flac", "mp3", "opus")),
        films.encode(pictures, file_format="mp4", codec="h264", frames_per_second=8, audio=sound),
        films.encode(pictures, file_format="webm", codec="vp9", frames_per_second=8),
    ]


INTACT = intact_files()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("class_type", "name"),
    [("LoadImage", "image"), ("LoadAudio", "audio"), ("LoadVideo", "file"), ("LoadLatent", "latent")],
)
@given(st.data())
def test_damaged_files_are_read_or_refused_in_the_servers_words(
    class_type: str, name: str, data: st.DataObject
) -> None:
    damaged = bytearray(data.draw(st.sampled_from(INTACT)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        damaged[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=4))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    refusals = (NodeError, sounds.NoAudioError) if class_type == "LoadAudio" else (NodeError,)
    try:
        value = run(make_call(class_type, {name: "a.x"}, files_with(a__x=bytes(damaged)))).values[0]
    except refusals as error:
        type_name = getattr(error, "type_name", None)
        assert type_name in ("av.error.InvalidDataError", "safetensors_rust.SafetensorError", None)
        return
    images = value if class_type == "LoadImage" else getattr(value, "images", Image(()))
    for frame in images.frames[:2]:
        frame.image()

"""Nodes that read files of the input folder: pictures, latents, sounds, films and 3D models (protocol 7.4)."""

from __future__ import annotations

import hashlib
import posixpath
import struct
from collections.abc import Callable, Sequence
from typing import Any

import PIL.Image
import PIL.ImageOps
import PIL.ImageSequence

from comfy_mock.engine.files import Folders
from comfy_mock.engine.media import audio as sounds
from comfy_mock.engine.media import safetensors
from comfy_mock.engine.media import video as films
from comfy_mock.engine.media.opening import opened_picture
from comfy_mock.engine.nodes.api import Call, ChangeCall, NodeError, Output, node
from comfy_mock.engine.nodes.frames import channel, inverted, uniform, with_channels
from comfy_mock.engine.nodes.generated import subject_frame
from comfy_mock.engine.paths import annotated, inside
from comfy_mock.engine.values import Draw, Frame, Image, Latent, Mask, Opaque, Subject, Video

_NO_MASK_SIDE = 64
_LATENT_DIMENSIONS = (4, 5)


def input_path(folders: Folders, name: str) -> str:
    """The virtual path of a file that a loader names, `a.png` or `a.png [output]`; the default folder is input.

    Raises `ValueError` for names that lead out of their folder.
    """
    bare, folder_type = annotated(name)
    folder = folders.of_type(folder_type or "input") or folders.input
    if inside(folder, bare) is None:
        raise ValueError(f"Invalid file path: {name}")
    return posixpath.join(folder, bare)


def file_frame(content: bytes, read: Callable[[PIL.Image.Image], PIL.Image.Image]) -> Frame:
    """What `read` makes of a picture file, in mode L, RGB or RGBA.

    The frame keeps the file, not the pixels: it decodes them anew whenever it is looked at.
    """

    def draw() -> PIL.Image.Image:
        with opened_picture(content) as file:
            return read(file)

    return _frame_of(draw(), draw, kept=False)


def _frame_of(image: PIL.Image.Image, draw: Draw, *, kept: bool) -> Frame:
    """A frame with the size and the channels of a picture that `draw` can make again; uniform where all of its pixels
    are equal."""
    bands = image.getextrema()
    ranges: Sequence[Any] = bands if isinstance(bands[0], tuple) else (bands,)
    if all(lowest == highest for lowest, highest in ranges):
        return uniform(image.width, image.height, tuple(lowest / 255 for lowest, _ in ranges))
    return Frame(image.width, image.height, len(ranges), draw, kept=kept)


def _hash_of(input_name: str) -> Callable[[ChangeCall], str]:
    def changed(call: ChangeCall) -> str:
        return hashlib.sha256(call.files.read(input_path(call.folders, call.inputs[input_name]))).hexdigest()

    return changed


@node("LoadImage", "LoadImageOutput", seconds=0.02, changed=_hash_of("image"))
def load_image(call: Call) -> Output:
    """The pictures of a file without their alpha, and a mask of what is transparent."""
    path = input_path(call.folders, call.inputs["image"])
    frames = _pictures(path, _media_content(call, path))
    images = Image(tuple(with_channels(frame, 3) for frame in frames))
    if frames[0].channels == 4:
        return Output((images, Mask(tuple(inverted(channel(frame, 3)) for frame in frames))))
    return Output((images, Mask((uniform(_NO_MASK_SIDE, _NO_MASK_SIDE, (0.0,)),) * len(frames))))


@node("LoadImageMask", seconds=0.02, changed=_hash_of("image"))
def load_image_mask(call: Call) -> Output:
    """One channel of a picture as a mask; alpha is inverted, and opaque where there is none."""
    path = input_path(call.folders, call.inputs["image"])
    try:
        frame = file_frame(call.files.read(path), lambda file: _upright(file, "RGBA"))
    except (PIL.UnidentifiedImageError, SyntaxError):
        raise NodeError("PIL.UnidentifiedImageError", f"cannot identify image file {path!r}") from None
    wanted = call.inputs["channel"]
    band = channel(frame, ("red", "green", "blue", "alpha").index(wanted))
    return Output((Mask((inverted(band) if wanted == "alpha" else band,)),))


@node("LoadLatent", seconds=0.02, changed=_hash_of("latent"))
def load_latent(call: Call) -> Output:
    """The latent of a `.latent` file, without what a sampler knew of it."""
    path = input_path(call.folders, call.inputs["latent"])
    content = call.files.read(path)
    try:
        _, tensors = safetensors.read(content)
    except ValueError as error:
        raise NodeError("safetensors_rust.SafetensorError", str(error)) from None
    tensor = tensors["latent_tensor"]
    if len(tensor.shape) not in _LATENT_DIMENSIONS:
        raise ValueError(f"a latent has 4 or 5 dimensions, {path} has {len(tensor.shape)}")
    batch, channels, *middle, height, width = tensor.shape
    digest = hashlib.sha256(tensor.data).digest()
    subject = Subject(int.from_bytes(digest[:4], "big"), (posixpath.basename(path),))
    return Output(
        (
            Latent(
                width,
                height,
                batch,
                channels,
                frames=middle[0] if middle else None,
                fill=_uniform_number(tensor),
                subject=subject,
            ),
        )
    )


def _uniform_number(tensor: safetensors.Tensor) -> float | None:
    """The number of a tensor that has only one, None for others."""
    first = tensor.data[:4]
    if tensor.dtype != "F32" or len(first) < 4 or first * (len(tensor.data) // 4) != tensor.data:
        return None
    return float(struct.unpack("<f", first)[0])


@node("LoadAudio", seconds=0.02, changed=_hash_of("audio"))
def load_audio(call: Call) -> Output:
    """The sound of a file, a film's too."""
    path = input_path(call.folders, call.inputs["audio"])
    content = _media_content(call, path)
    try:
        return Output((sounds.read(content),))
    except sounds.NotMediaError:
        raise _invalid(path) from None


def _modified(call: ChangeCall) -> float:
    path = input_path(call.folders, call.inputs["file"])
    stat = call.files.stat(path)
    if stat is None:
        raise FileNotFoundError(path)
    return stat.modified


@node("LoadVideo", changed=_modified)
def load_video(call: Call) -> Output:
    """The film of a file. What is no film has no pictures: as on the real server, the next node finds out."""
    content = call.files.read(input_path(call.folders, call.inputs["file"]))
    try:
        return Output((films.read(content),))
    except sounds.NotMediaError:
        return Output((Video(Image(()), 1.0, content=content),))


@node("Load3D", seconds=0.02)
def load_3d(call: Call) -> Output:
    """The model file, and what the viewer of the frontend drew of it; for other clients a picture stands in."""
    name, width, height = call.inputs["model_file"], call.inputs["width"], call.inputs["height"]
    drawn = call.inputs["image"] if isinstance(call.inputs["image"], dict) else {}
    picture = _viewer_picture(call, drawn.get("image")) or subject_frame(Subject(0, (name,)), width, height, 0)
    mask = inverted(channel(picture, 3)) if picture.channels == 4 else uniform(width, height, (0.0,))
    normal = _viewer_picture(call, drawn.get("normal")) or uniform(width, height, (0.5, 0.5, 1.0))
    values = (
        Image((with_channels(picture, 3),)),
        Mask((mask,)),
        name,
        Image((with_channels(normal, 3),)),
        drawn.get("camera_info"),
        None,
        _model(call, name),
        drawn.get("model_3d_info"),
    )
    return Output(values)


@node("Load3DAdvanced", seconds=0.02)
def load_3d_advanced(call: Call) -> Output:
    """The model file and the state of the viewport."""
    viewport = call.inputs["viewport_state"] if isinstance(call.inputs["viewport_state"], dict) else {}
    model = _model(call, call.inputs["model_file"])
    info, camera = viewport.get("model_3d_info"), viewport.get("camera_info")
    return Output((model, info, camera, call.inputs["width"], call.inputs["height"]))


def _viewer_picture(call: Call, name: Any) -> Frame | None:
    if not isinstance(name, str) or not name:
        return None
    path = input_path(call.folders, name)
    return _pictures(path, _media_content(call, path))[0]


def _model(call: Call, name: str) -> Opaque | None:
    if name in ("", "none"):
        return None
    path = input_path(call.folders, name)
    facts = {"format": posixpath.splitext(path)[1].lstrip(".").lower(), "content": call.files.read(path)}
    return Opaque("FILE_3D", facts)


def _media_content(call: Call, path: str) -> bytes:
    """A file's bytes, with the errors of the library that opens media files on the real server (protocol 7.4)."""
    try:
        return call.files.read(path)
    except FileNotFoundError:
        raise NodeError("av.error.FileNotFoundError", f"[Errno 2] No such file or directory: {path!r}") from None
    except IsADirectoryError:
        raise NodeError("av.error.IsADirectoryError", f"[Errno 21] Is a directory: {path!r}") from None


def _pictures(path: str, content: bytes) -> list[Frame]:
    """All pictures of a file that have the size of its first, with 3 channels, or 4 if one has an alpha channel."""
    try:
        pictures = _decoded(content)
    except PIL.UnidentifiedImageError:
        return _film_pictures(path, content)
    except Exception:
        # Pillow's decoders raise whatever they like at a damaged file.
        raise _invalid(path) from None
    if len(pictures) == 1:
        return [_frame_of(pictures[0], lambda: _decoded(content)[0], kept=False)]
    animation = _Animation(content)
    return [_frame_of(picture, animation.draw(number), kept=True) for number, picture in enumerate(pictures)]


def _decoded(content: bytes) -> list[PIL.Image.Image]:
    """The pictures of a file that have the size of its first, all in mode RGB, or RGBA if one has an alpha channel."""
    with opened_picture(content) as file:
        pictures = [
            _upright(picture, "RGBA" if picture.has_transparency_data else "RGB")
            for picture in PIL.ImageSequence.Iterator(file)
        ]
    mode = "RGBA" if any(picture.mode == "RGBA" for picture in pictures) else "RGB"
    return [picture.convert(mode) for picture in pictures if picture.size == pictures[0].size]


class _Animation:
    """Decodes an animation once, when its first picture is looked at: from its file alone each would cost all before
    it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._pictures: list[PIL.Image.Image] | None = None

    def draw(self, number: int) -> Draw:
        return lambda: self._all()[number]

    def _all(self) -> list[PIL.Image.Image]:
        pictures = self._pictures
        if pictures is None:
            self._pictures = pictures = _decoded(self._content)
        return pictures


def _film_pictures(path: str, content: bytes) -> list[Frame]:
    try:
        frames = films.read(content).images.frames
    except sounds.NotMediaError:
        raise _invalid(path) from None
    if not frames:
        raise _invalid(path)
    return list(frames)


def _upright(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """A picture turned as its EXIF data asks, in 8 bits per channel."""
    turned = PIL.ImageOps.exif_transpose(picture)
    if turned.mode.startswith("I"):
        turned = turned.convert("I").point(lambda level: level * (1 / 257)).convert("L")
    return turned.convert(mode)


def _invalid(path: str) -> NodeError:
    message = f"[Errno 1094995529] Invalid data found when processing input: {path!r}"
    return NodeError("av.error.InvalidDataError", message)

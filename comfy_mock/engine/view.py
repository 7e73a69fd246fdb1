"""GET /view: a file of the input, output or temp folder, as it is or as another picture of it (protocol 2.4)."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping

import PIL.Image

from comfy_mock.engine.answers import Answer, ServerTrouble, empty
from comfy_mock.engine.content_types import BINARY, content_type_of, is_dangerous
from comfy_mock.engine.file_answers import file_answer
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.media.opening import opened_picture
from comfy_mock.engine.paths import annotated, file_stat, inside, passable

_ASSET = "blake3:"
_SVG = "image/svg+xml"
_PREVIEW_FORMATS = ("webp", "jpeg")
_PREVIEW_QUALITY = 90


def view(files: Files, folders: Folders, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """The answer to GET /view with these parameters and request headers (under lower-case names).

    Raises `ServerTrouble` where another picture is asked for of what is no picture.
    """
    path = _find(files, folders, query)
    if isinstance(path, Answer):
        return path
    channel = query.get("channel", "")
    if "preview" in query:
        return _preview(files, path, query["preview"], channel)
    if channel == "rgb":
        return _picture(path, "png", _open(files, path).convert("RGB"))
    if channel == "a":
        return _picture(path, "png", _alpha_only(files, path))
    return _whole_file(files, path, headers)


def _find(files: Files, folders: Folders, query: Mapping[str, str]) -> str | Answer:
    """The virtual path of the file, or the refusal."""
    sent = query.get("filename")
    if sent is None or sent.startswith(_ASSET):
        return empty(404)
    name, tagged = annotated(sent)
    folder = folders.of_type(tagged or query.get("type", "output"))
    if not name or name.startswith("/") or ".." in name or folder is None:
        return empty(400)
    path = posixpath.join(folder, query.get("subfolder", ""), posixpath.basename(name))
    if inside(folder, posixpath.dirname(path)) is None:
        return empty(403)
    found = file_stat(files, path) is not None and passable(files, path)
    return posixpath.normpath(path) if found else empty(404)


def _whole_file(files: Files, path: str, headers: Mapping[str, str]) -> Answer:
    kind = content_type_of(path)
    disposition = _disposition(path)
    extra = [("X-Content-Type-Options", "nosniff")]
    if is_dangerous(kind):
        extra += [("Vary", "Sec-Fetch-Dest"), ("Cache-Control", "no-store")]
        if kind != _SVG or headers.get("sec-fetch-dest") != "image":
            kind = BINARY
            disposition = f"attachment; {disposition}"
    extra.append(("Content-Disposition", disposition))
    return file_answer(files, path, headers, content_type=kind, headers=tuple(extra))


def _preview(files: Files, path: str, wanted: str, channel: str) -> Answer:
    parts = wanted.split(";")
    image_format = parts[0] if parts[0] in _PREVIEW_FORMATS and "a" not in channel else "webp"
    image = _open(files, path)
    try:
        quality = int(parts[-1]) if parts[-1].isdigit() else _PREVIEW_QUALITY
    except ValueError as error:
        raise ServerTrouble(f"{parts[-1]!r} looks like a number but is none: {error}") from error
    if image_format == "jpeg" or channel == "rgb":
        image = image.convert("RGB")
    return _picture(path, image_format, image, quality=quality)


def _alpha_only(files: Files, path: str) -> PIL.Image.Image:
    # Only a picture that has an alpha channel is decoded: the end of any other may be missing.
    image = _open(files, path, decode=False)
    alpha = _open(files, path).getchannel("A") if image.mode == "RGBA" else PIL.Image.new("L", image.size, 255)
    black = PIL.Image.new("RGBA", image.size)
    black.putalpha(alpha)
    return black


def _open(files: Files, path: str, *, decode: bool = True) -> PIL.Image.Image:
    try:
        with opened_picture(files.read(path)) as image:
            if decode:
                image.load()
    except Exception as error:
        # Broken pictures make the decoders raise whatever they stumble over.
        raise ServerTrouble(f"{path} is not a picture: {error}") from error
    return image


def _picture(path: str, image_format: str, image: PIL.Image.Image, *, quality: int | None = None) -> Answer:
    buffer = io.BytesIO()
    try:
        image.save(buffer, image_format, **({} if quality is None else {"quality": quality}))
    except Exception as error:
        raise ServerTrouble(f"{path} cannot be shown as {image_format}: {error}") from error
    headers = (("Content-Disposition", _disposition(path)),)
    return Answer(200, buffer.getvalue(), f"image/{image_format}", headers)


def _disposition(path: str) -> str:
    name = posixpath.basename(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'filename="{name}"'

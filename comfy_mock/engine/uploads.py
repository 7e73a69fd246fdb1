"""POST /upload/image and /upload/mask: files that clients bring (protocol 2.5)."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from comfy_contracts import jsontext
from comfy_mock.engine.answers import Answer, ServerTrouble, empty, json_answer
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.media.opening import opened_picture
from comfy_mock.engine.paths import annotated, file_stat, inside, passable

_OVERWRITE = ("true", "1")


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """The file part of a multipart form: the client's name for it and its bytes."""

    filename: str
    content: bytes


Fields = Mapping[str, "str | bytes | UploadedFile"]
"""The fields of a form; bytes are those whose own content type is no text."""

Made = Callable[[UploadedFile, str], "bytes | None"]
"""From the uploaded file and the path it is to have, what is to be written there: None for nothing."""


def upload_image(files: Files, folders: Folders, form: Fields, *, now: float) -> Answer:
    """Store the file part `image` in the folder that `type` and `subfolder` say.

    A name that is taken by another content gets a number, unless `overwrite` says otherwise. `now` is in seconds since
    the epoch. Raises `ServerTrouble` for what the real server fails on.
    """
    return _upload(files, folders, form, lambda image, _: image.content, now=now)


def upload_mask(files: Files, folders: Folders, form: Fields, *, now: float) -> Answer:
    """Store the picture that `original_ref` names with the alpha channel of the file part `image`.

    The real server says nothing of a reference that leads nowhere: it answers 200 and writes no file. Raises
    `ServerTrouble` for what it fails on.
    """
    return _upload(files, folders, form, lambda image, path: _masked(files, folders, form, image, path), now=now)


def _upload(files: Files, folders: Folders, form: Fields, made: Made, *, now: float) -> Answer:
    image = form.get("image")
    if not image:
        return empty(400)
    if not isinstance(image, UploadedFile):
        raise ServerTrouble("the form field image is not a file")
    folder_type = _text(form, "type", "input")
    folder = folders.of_type(folder_type)
    if folder is None:
        raise ServerTrouble(f"there is no folder of type {folder_type!r}")
    subfolder = _text(form, "subfolder", "")
    inner = posixpath.join(folder, posixpath.normpath(subfolder))
    if inside(folder, posixpath.join(inner, image.filename)) is None:
        return empty(400)
    try:
        name = _store(files, inner, image, made, now=now, overwrite=form.get("overwrite") in _OVERWRITE)
    except (OSError, ValueError) as error:
        raise ServerTrouble(f"{image.filename!r} cannot be stored in {inner}: {error}") from error
    return json_answer({"name": name, "subfolder": subfolder, "type": folder_type})


def _text(form: Fields, name: str, default: str) -> str:
    value = form.get(name, default)
    if not isinstance(value, str):
        raise ServerTrouble(f"the form field {name} is not a text")
    return value


def _store(files: Files, folder: str, image: UploadedFile, made: Made, *, now: float, overwrite: bool) -> str:
    """Write the file unless it is there; the name it has now. Raises `OSError` or `ValueError` where that fails."""
    if files.stat(folder) is None:
        files.make_folder(folder, now=now)
    name = image.filename
    if not overwrite:
        stem, extension = posixpath.splitext(name)
        number = 0
        while files.stat(posixpath.join(folder, name)) is not None:
            if files.read(posixpath.join(folder, name)) == image.content:
                return name
            number += 1
            name = f"{stem} ({number}){extension}"
    path = posixpath.join(folder, name)
    content = made(image, path)
    if content is not None:
        parent = files.stat(posixpath.dirname(path))
        if parent is None or not parent.is_folder:
            raise FileNotFoundError(f"there is no folder {posixpath.dirname(path)}")
        files.write(path, content, now=now)
    return name


def _masked(files: Files, folders: Folders, form: Fields, image: UploadedFile, path: str) -> bytes | None:
    """The referenced original with the uploaded alpha, in the format of the extension of `path`."""
    original = _original(files, folders, _reference(form))
    if original is None:
        return None
    try:
        with opened_picture(files.read(original)) as picture:
            texts = PngInfo()
            for key, text in getattr(picture, "text", {}).items():
                texts.add_text(key, text)
            result = picture.convert("RGBA")
        with opened_picture(image.content) as mask:
            result.putalpha(mask.convert("RGBA").getchannel("A"))
        buffer = io.BytesIO()
        image_format = PIL.Image.registered_extensions()[posixpath.splitext(path)[1].lower()]
        result.save(buffer, image_format, compress_level=4, pnginfo=texts)
    except Exception as error:
        # Broken pictures make the decoders raise whatever they stumble over.
        raise ServerTrouble(f"no mask can be put onto {original}: {error}") from error
    return buffer.getvalue()


def _reference(form: Fields) -> dict[str, Any]:
    sent = form.get("original_ref")
    if isinstance(sent, (str, bytes)):
        try:
            reference = jsontext.loads(sent)
        except (ValueError, RecursionError) as error:
            raise ServerTrouble(f"original_ref is not JSON: {error}") from error
        if isinstance(reference, dict) and isinstance(reference.get("filename"), str):
            return reference
    raise ServerTrouble("original_ref is not an object with a filename")


def _original(files: Files, folders: Folders, reference: dict[str, Any]) -> str | None:
    """The path of the file that a reference names, None if it names none."""
    name, tagged = annotated(reference["filename"])
    folder_type = tagged or reference.get("type", "output")
    folder = folders.of_type(folder_type) if isinstance(folder_type, str) else None
    if not name or name.startswith("/") or ".." in name or folder is None:
        return None
    subfolder = reference.get("subfolder", "")
    if not isinstance(subfolder, str):
        raise ServerTrouble("the subfolder of original_ref is not a text")
    path = posixpath.join(folder, subfolder, name)
    if inside(folder, posixpath.join(folder, subfolder)) is None or file_stat(files, path) is None:
        return None
    return path if passable(files, path) else None

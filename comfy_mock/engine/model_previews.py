"""The pictures that lie next to model files: `GET /experiment/models/preview/…` (protocol 2.3)."""

from __future__ import annotations

import base64
import io
import posixpath
from collections.abc import Iterator

import PIL.Image

from comfy_contracts import jsontext
from comfy_mock.engine.answers import Answer, ServerTrouble, empty
from comfy_mock.engine.content_types import content_type_of
from comfy_mock.engine.files import Files
from comfy_mock.engine.media.opening import opened_picture
from comfy_mock.engine.models import FOLDERS, ModelFolders


def model_preview(models: ModelFolders, files: Files, folder: str, path_index: str, filename: str) -> Answer:
    """The picture of a model as WebP: `name.png` or `name.preview.png` beside `name.safetensors`, or its cover image.

    All refusals are empty. Raises `ServerTrouble` for what only looks like a picture.
    """
    if folder not in FOLDERS:
        return empty(404)
    try:
        index = int(path_index)
    except ValueError:
        return empty(400)
    if not filename:
        return empty(400)
    paths = models.paths(folder)
    if not 0 <= index < len(paths):
        return empty(404)
    path = posixpath.normpath(posixpath.join(paths[index], filename))
    if not path.startswith(paths[index] + "/"):
        return empty(403)
    if "\0" in path:
        return empty(404)
    for content in _pictures(models, files, folder, path, posixpath.relpath(path, paths[index])):
        return Answer(200, _webp(content), "image/webp")
    return empty(404)


def _pictures(models: ModelFolders, files: Files, folder: str, path: str, name: str) -> Iterator[bytes]:
    parent, stem = posixpath.dirname(path), posixpath.splitext(posixpath.basename(path))[0]
    stat = files.stat(parent)
    siblings = files.names(parent) if stat is not None and stat.is_folder else []
    for sibling in siblings:
        is_picture = content_type_of(sibling).startswith("image/")
        if is_picture and posixpath.splitext(sibling)[0] in (stem, f"{stem}.preview"):
            yield files.read(f"{parent}/{sibling}")
    metadata = models.metadata(folder, f"{posixpath.splitext(name)[0]}.safetensors")
    cover = metadata.get("ssmd_cover_images") if isinstance(metadata, dict) else None
    if isinstance(cover, str):
        yield from _covers(cover)


def _covers(text: str) -> Iterator[bytes]:
    """The pictures in a JSON list of base64 texts."""
    try:
        for encoded in jsontext.loads(text):
            yield base64.b64decode(encoded)
    except (ValueError, TypeError) as error:
        raise ServerTrouble(f"no list of cover images: {error}") from error


def _webp(content: bytes) -> bytes:
    try:
        with opened_picture(content) as picture:
            written = io.BytesIO()
            picture.save(written, format="WEBP")
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise ServerTrouble(f"no picture: {error}") from error
    return written.getvalue()

"""Files that a server made: what ComfyUI wrote into them, pixels, and saving them without harm (protocol 7)."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_client._errors import MetadataError as MetadataError  # it is public here
from comfy_contracts import jsontext

if TYPE_CHECKING:
    import PIL.Image

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TEXT_BYTES_MAX = 64 * 1024 * 1024
_EXIF_MODEL = 0x0110
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Metadata:
    """What ComfyUI wrote into a picture (protocol 7.2, 7.3).

    `prompt` is the graph that ran, in API format; `workflow` the same as the editor had it; None where there is none.
    `extra` has all other texts by key, as JSON values where they are JSON.
    """

    prompt: Any = None
    workflow: Any = None
    extra: dict[str, Any] = field(default_factory=dict)


def is_picture(content: bytes) -> bool:
    """Whether this is a file of a kind whose metadata `read_metadata` knows: PNG, WEBP or JPEG."""
    return content.startswith((_PNG, _JPEG)) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def read_metadata(content: bytes) -> Metadata:
    """What ComfyUI wrote into a picture: the texts of a PNG, the `comf` chunks of an animated one, or the EXIF of a
    WEBP. A picture without any gives an empty `Metadata`.

    Raises `MetadataError` where `content` is no such picture, or is damaged.
    """
    if not is_picture(content):
        raise MetadataError("this is no PNG, WEBP or JPEG, so no workflow can be read from it")
    pairs = _png_texts(content) if content.startswith(_PNG) else _exif_texts(content)
    found = {key: _value(text) for key, text in pairs}
    return Metadata(found.pop("prompt", None), found.pop("workflow", None), found)


def to_pil(content: bytes) -> PIL.Image.Image:
    """The picture as a Pillow image, with its pixels loaded. Raises `PIL.UnidentifiedImageError` for another file."""
    import PIL.Image  # Pillow takes long to load, and not all who save files need pixels.

    image = PIL.Image.open(io.BytesIO(content))
    image.load()
    return image


def save_file(
    content: bytes, filename: str, to: str | os.PathLike[str] | None = None, *, overwrite: bool = False
) -> Path:
    """Write a file and return where it is.

    `filename` is the server's name for it. `to` is the path of the file, or a folder: one that exists, or that is made
    as it ends in a slash, or has no extension where `filename` has one; None is the current folder. A file that is
    there already is never touched unless `overwrite` is true: the new one is counted on, as `name (1).png`. Of
    `filename` only what is a name on every system is used, so that no server can choose the folder. Raises `OSError`
    where the place cannot be written.
    """
    wanted, name = os.fspath(to) if to is not None else ".", safe_name(filename)
    path = Path(wanted)
    # A `Path` forgets the slash at its end.
    if wanted.endswith(("/", os.sep)) or (not path.exists() and not path.suffix and Path(name).suffix):
        path.mkdir(parents=True, exist_ok=True)
    path = path / name if path.is_dir() else path
    if overwrite:
        path.write_bytes(content)
        return path
    for candidate in _free_names(path):
        try:
            file = candidate.open("xb")
        except FileExistsError:
            continue
        with file:
            file.write(content)
        return candidate
    raise AssertionError("names never run out")


def safe_name(filename: str) -> str:
    """The last part of a server's file name, with what Windows, macOS or Linux would not take replaced by `_`."""
    name = _FORBIDDEN.sub("_", re.split(r"[/\\]", filename)[-1]).rstrip(". ")
    if not name:
        return "unnamed"
    return f"_{name}" if _DEVICES.match(name) else name


def _free_names(path: Path) -> Iterator[Path]:
    yield path
    number = 0
    while True:
        number += 1
        yield path.with_name(f"{path.stem} ({number}){path.suffix}")


def _value(text: str) -> Any:
    try:
        return jsontext.loads(text)
    except (ValueError, RecursionError):
        return text


def _png_texts(content: bytes) -> Iterator[tuple[str, str]]:
    position = len(_PNG)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        data = content[position + 8 : position + 8 + length]
        if len(data) < length:
            raise MetadataError(f"the PNG is cut off in its chunk {kind.decode('latin-1')}: fetch it again")
        position += length + 12
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"comf"):
            yield _png_text(kind, data)


def _png_text(kind: bytes, data: bytes) -> tuple[str, str]:
    key, _, rest = data.partition(b"\0")
    try:
        if kind == b"zTXt":
            rest = _inflated(rest[1:])
        elif kind == b"iTXt":
            packed = rest[0]
            rest = rest[2:].split(b"\0", 2)[2]
            rest = _inflated(rest) if packed else rest
    except (IndexError, zlib.error) as error:
        raise MetadataError(f"the PNG's text {key.decode('latin-1')!r} is damaged: {error}") from error
    return key.decode("latin-1"), _decoded(rest)


def _inflated(data: bytes) -> bytes:
    text = zlib.decompressobj().decompress(data, _TEXT_BYTES_MAX + 1)
    if len(text) > _TEXT_BYTES_MAX:
        raise MetadataError(f"a text of the PNG unpacks to more than {_TEXT_BYTES_MAX // 2**20} MiB")
    return text


def _decoded(text: bytes) -> str:
    # PNG says Latin-1; ComfyUI writes ASCII, and other tools that write workflows UTF-8.
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _exif_texts(content: bytes) -> Iterator[tuple[str, str]]:
    """ComfyUI puts `key:json` into the tags from Model downwards (protocol 7.2)."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(content), formats=("WEBP", "JPEG")) as image:
            exif = dict(image.getexif())
    # Pillow's readers raise what they like at a damaged file: OSError, SyntaxError, struct.error, ValueError …
    except Exception as error:
        raise MetadataError(f"the picture is damaged: {error}") from error
    for tag in sorted((tag for tag in exif if tag <= _EXIF_MODEL), reverse=True):
        key, colon, text = str(exif[tag]).partition(":")
        if colon:
            yield key, text

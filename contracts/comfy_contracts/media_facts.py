"""What counts of a media file when the traffic of two servers is compared: its facts, not its bytes or pixels.

Two servers never write the same bytes (encoders differ), and a fake draws other pictures. What a client can rely on is
the format, the size, the number and duration of frames, the codecs, and the metadata that ComfyUI puts into files
(protocol 7.2 and 7.3).
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import PIL.Image

from comfy_contracts import jsontext

_IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_CONTAINER_MAGIC: tuple[tuple[int, bytes], ...] = (
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (0, b"\xff\xfb"),
    (0, b"\xff\xf3"),
    (0, b"\x1aE\xdf\xa3"),
    (4, b"ftyp"),
    (8, b"WAVE"),
)
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TAGS_OF_THE_MUXER = frozenset(
    {
        "encoder",
        "duration",
        "language",
        "handler_name",
        "vendor_id",
        "major_brand",
        "minor_version",
        "compatible_brands",
    }
)


def media_facts(content: bytes) -> dict[str, Any]:
    """The facts of a file as JSON: `kind`, and by kind

    * images: `size` [width, height], `mode` (Pillow's word), `frames`, `durations` in ms of several frames, `chunks` of
      a PNG ([chunk type, key, value] in their order), `exif` (tag to [key, value]);
    * audio and video: `seconds` (one decimal), `streams`, `tags`;
    * safetensors (also `.latent`): `metadata`, `tensors` (name to [dtype, shape]);
    * anything else: `bytes` and `sha256`, so that such files are compared exactly.

    A value that is JSON text is given as JSON. A file that its own kind cannot read has `broken` and its `sha256`.
    Never raises (protocol 7.3).
    """
    try:
        with PIL.Image.open(io.BytesIO(content), formats=_IMAGE_FORMATS) as image:
            return _read(f"{image.format}", content, lambda: _image_facts(image, content))
    except PIL.UnidentifiedImageError:
        pass
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        return _broken("image", content, error)
    if any(content[at : at + len(magic)] == magic for at, magic in _CONTAINER_MAGIC):
        return _read("container", content, lambda: _container_facts(content))
    return _safetensors_facts(content) or {"kind": "other", "bytes": len(content), "sha256": _digest(content)}


def picture_facts(content: bytes) -> dict[str, Any]:
    """The facts of a preview picture: `kind`, `size` and `mode`, or `broken` (protocol 6.8)."""
    facts = media_facts(content)
    return {key: facts[key] for key in ("kind", "size", "mode", "broken") if key in facts}


def value_of(text: str) -> Any:
    """`text` as JSON where it is an object or a list, else `text` itself."""
    if text[:1] in ("{", "["):
        try:
            return jsontext.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(kind: str, content: bytes, facts: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    # The decoders raise whatever they like at a damaged file (struct.error, SyntaxError, OSError, av's own …).
    try:
        found = facts()
    except Exception as error:
        return _broken(kind, content, error)
    return {"kind": kind, **found}


def _broken(kind: str, content: bytes, error: Exception) -> dict[str, Any]:
    return {"kind": kind, "broken": type(error).__name__, "sha256": _digest(content)}


def _image_facts(image: PIL.Image.Image, content: bytes) -> dict[str, Any]:
    frames = int(getattr(image, "n_frames", 1))
    facts: dict[str, Any] = {"size": list(image.size), "mode": image.mode, "frames": frames}
    # Loading, not only opening, shows whether the pixels are there.
    image.load()
    if frames > 1:
        facts["durations"] = _durations(image, frames)
    if image.format == "PNG":
        facts["chunks"] = [_chunk_fact(name, data) for name, data in _png_chunks(content) if name in _PNG_TEXTS]
    else:
        facts["exif"] = {str(tag): _exif_fact(value) for tag, value in image.getexif().items()}
    return facts


def _durations(image: PIL.Image.Image, frames: int) -> list[float]:
    durations = []
    for index in range(frames):
        image.seek(index)
        image.load()
        durations.append(float(image.info.get("duration", 0)))
    return durations


_PNG_TEXTS = frozenset({"tEXt", "zTXt", "iTXt", "comf"})


def _png_chunks(content: bytes) -> Iterator[tuple[str, bytes]]:
    position = len(_PNG_MAGIC)
    while position + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        yield name.decode("latin-1"), content[position + 8 : position + 8 + length]
        position += length + 12


def _chunk_fact(name: str, data: bytes) -> list[Any]:
    key, _, rest = data.partition(b"\0")
    if name == "zTXt":
        text = zlib.decompress(rest[1:]).decode("latin-1")
    elif name == "iTXt":
        packed = rest[0]
        text_bytes = rest[2:].split(b"\0", 2)[2]
        text = (zlib.decompress(text_bytes) if packed else text_bytes).decode("utf-8")
    else:
        text = rest.decode("utf-8", "surrogateescape")
    return [name, key.decode("latin-1"), value_of(text)]


def _exif_fact(value: Any) -> Any:
    """ComfyUI writes `key:json` into the tags (protocol 7.2)."""
    if not isinstance(value, str):
        return str(value)
    key, colon, rest = value.partition(":")
    return [key, value_of(rest)] if colon else value


def _container_facts(content: bytes) -> dict[str, Any]:
    import av  # FFmpeg's libraries take long to load and few callers need them

    with av.open(io.BytesIO(content)) as container:
        streams: list[dict[str, Any]] = []
        tags: dict[str, Any] = _tags(container.metadata)
        for stream in container.streams:
            tags.update(_tags(stream.metadata))
            codec = stream.codec_context.codec.canonical_name
            if isinstance(stream, av.VideoStream):
                rate = stream.average_rate
                streams.append(
                    {"video": codec, "size": [stream.width, stream.height], "fps": float(rate) if rate else None}
                )
            elif isinstance(stream, av.AudioStream):
                streams.append({"audio": codec, "rate": stream.sample_rate, "channels": stream.channels})
            else:
                streams.append({stream.type: codec})
        seconds = round(container.duration / av.time_base, 1) if container.duration else None
        return {"format": container.format.name, "seconds": seconds, "streams": streams, "tags": tags}


def _tags(metadata: dict[str, str]) -> dict[str, Any]:
    # Matroska writes its keys in capitals.
    return {key.lower(): value_of(text) for key, text in metadata.items() if key.lower() not in _TAGS_OF_THE_MUXER}


def _safetensors_facts(content: bytes) -> dict[str, Any] | None:
    """The header of a safetensors file: 8 bytes of length (little-endian), then JSON."""
    length = int.from_bytes(content[:8], "little")
    if not (len(content) > 8 and 2 <= length <= len(content) - 8 and content[8:9] == b"{"):
        return None
    try:
        header = jsontext.loads(content[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        tensors = {name: [entry["dtype"], entry["shape"]] for name, entry in header.items()}
        values = {key: value_of(text) for key, text in metadata.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    # Their writer keeps them in a hash map, so the order of names is chance.
    return {"kind": "safetensors", "metadata": dict(sorted(values.items())), "tensors": dict(sorted(tensors.items()))}

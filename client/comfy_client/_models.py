"""What a finished prompt made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from comfy_client.images import save_file, to_pil
from comfy_contracts.results import file_items

if TYPE_CHECKING:
    import PIL.Image

IMAGE_EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".apng")


@dataclass(frozen=True)
class OutputFile:
    """A file that a node made or shows.

    `kind` is the word under which the node lists it: `images`, `audio`, `latents` …
    `type` is the folder (`output`, `temp` or `input`), `subfolder` is relative to it.
    """

    node_id: str
    kind: str
    filename: str
    subfolder: str
    type: str

    @property
    def is_image(self) -> bool:
        """Whether it is a picture, by its name: videos are listed as `images` too (protocol 7.2)."""
        return self.filename.lower().endswith(IMAGE_EXTENSIONS)


@dataclass(frozen=True)
class SocketImage:
    """A picture that a node sent over the WebSocket and wrote to no file, as `SaveImageWebsocket` does (protocol 7.2).

    `content` is a whole file, `image_type` its MIME type.
    """

    node_id: str
    image_type: str
    content: bytes = field(repr=False)

    def pil(self) -> PIL.Image.Image:
        """The picture as Pillow has it."""
        return to_pil(self.content)

    def save(self, to: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> Path:
        """Write it to a file and return where; `to` is a folder or a path, as for `images.save_file`."""
        filename = f"websocket_{self.node_id}.{self.image_type.rpartition('/')[2]}"
        return save_file(self.content, filename, to, overwrite=overwrite)


def output_files(outputs: Mapping[str, Mapping[str, Any]]) -> tuple[OutputFile, ...]:
    """The files among the outputs of a prompt, in their order."""
    return tuple(
        OutputFile(node_id, kind, item.filename, item.subfolder, item.type)
        for node_id, output in outputs.items()
        for kind, item in file_items(output)
    )


def output_texts(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What the nodes showed as text, by node id."""
    texts = {}
    for node_id, output in outputs.items():
        found = tuple(text for text in output.get("text") or () if isinstance(text, str))
        if found:
            texts[node_id] = found
    return texts

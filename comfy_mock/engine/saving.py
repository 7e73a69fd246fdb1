"""How the savers name their files: prefixes, tokens, folders and counters (protocol 7.1)."""

from __future__ import annotations

import posixpath
import random
import string
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from comfy_mock.engine.files import Files

_IMAGE_LETTERS = string.ascii_lowercase.replace("w", "p")
"""The alphabet of the image savers' random prefixes: no w, p twice (protocol 7.2)."""


@dataclass(frozen=True, slots=True)
class SavePath:
    """Where a saver writes.

    `folder` is the absolute virtual folder and exists. `filename` is the prefix that the names start with, `counter`
    the number of the first file, `subfolder` what a file item reports, `filename_prefix` the prefix after its tokens
    were filled in.
    """

    folder: str
    filename: str
    counter: int
    subfolder: str
    filename_prefix: str

    def name(self, index: int, ending: str) -> str:
        """The name of the file with batch index `index` and the given ending: `_.png`, or `.flac` for the savers
        that put no underscore behind the number. `%batch_num%` becomes the index (protocol 7.1, rule 1)."""
        stem = self.filename.replace("%batch_num%", str(index))
        return f"{stem}_{self.counter + index:05}{ending}"

    def path(self, name: str) -> str:
        """The absolute virtual path of the file called `name`."""
        return posixpath.join(self.folder, name)


def save_path(
    prefix: str, output_folder: str, files: Files, *, now: float, utc_offset_s: int, width: int = 0, height: int = 0
) -> SavePath:
    """Where files with the prefix `prefix` go, by the rules of protocol 7.1.

    `width` and `height` are those of the first picture in pixels, 0 for sounds and latents; `now` is in seconds since
    the epoch. The folder is made if it is missing. Raises `Exception` with the real server's message where the prefix
    leads out of `output_folder`, and `NotADirectoryError` where a file stands in the way.
    """
    prefix = _fill_tokens(prefix, now, utc_offset_s, width, height)
    normal = posixpath.normpath(prefix)
    subfolder, filename = posixpath.split(normal)
    folder = posixpath.normpath(posixpath.join(output_folder, subfolder))
    if folder != output_folder and not folder.startswith(output_folder + "/"):
        raise Exception(  # noqa: TRY002 - the type is on the wire
            "**** ERROR: Saving image outside the output folder is not allowed."
            f"\n full_output_folder: {folder}\n         output_dir: {output_folder}"
        )
    try:
        names = files.names(folder)
    except FileNotFoundError:
        files.make_folder(folder, now=now)
        names = []
    # The real scan cuts names at the length of the un-normalised last part: with another length nothing matches.
    matches = len(posixpath.basename(prefix)) == len(filename)
    counter = _next_counter(names, filename + "_") if matches else 1
    return SavePath(folder, filename, counter, subfolder, prefix)


def temp_prefix(prefix: str, letters: random.Random) -> str:
    """`prefix` with the five random letters of the image savers: `ComfyUI_temp_abcde` (protocol 7.2)."""
    return prefix + "_temp_" + "".join(letters.choice(_IMAGE_LETTERS) for _ in range(5))


def temp_prefix_for_audio(letters: random.Random) -> str:
    """The random prefix of `PreviewAudio`: its five letters come from the whole alphabet (protocol 7.2)."""
    return "ComfyUI_temp_" + "".join(letters.choices(string.ascii_lowercase, k=5))


def file_item(filename: str, subfolder: str, folder_type: str) -> dict[str, str]:
    """A file in a node's ui: `folder_type` is `output`, `input` or `temp` (protocol 7.2)."""
    return {"filename": filename, "subfolder": subfolder, "type": folder_type}


def _fill_tokens(prefix: str, now: float, utc_offset_s: int, width: int, height: int) -> str:
    if "%" not in prefix:
        return prefix
    local = datetime.fromtimestamp(now, tz=timezone(timedelta(seconds=utc_offset_s)))
    tokens = {
        "%width%": str(width),
        "%height%": str(height),
        "%year%": str(local.year),
        "%month%": f"{local.month:02}",
        "%day%": f"{local.day:02}",
        "%hour%": f"{local.hour:02}",
        "%minute%": f"{local.minute:02}",
        "%second%": f"{local.second:02}",
    }
    for token, text in tokens.items():
        prefix = prefix.replace(token, text)
    return prefix


def _next_counter(names: list[str], start: str) -> int:
    numbers = [_number(name[len(start) :]) for name in names if name.startswith(start)]
    return max(numbers) + 1 if numbers else 1


def _number(rest: str) -> int:
    """The number at the start of what follows the prefix in a name; 0 where there is none."""
    try:
        return int(rest.split(".", 1)[0].split("_", 1)[0])
    except ValueError:
        return 0

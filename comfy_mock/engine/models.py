"""The folders of models, and the files that the server offers in them (protocol 2.3)."""

from __future__ import annotations

import copy
import difflib
import posixpath
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comfy_contracts import jsontext
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.default_models import DEFAULT_MODELS, FIXED_FILES
from comfy_mock.engine.directory_order import directory_order
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.script.model import ModelChange

MODEL_EXTENSIONS = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".sft"})

LEGACY_NAMES = {"clip": "text_encoders", "unet": "diffusion_models"}
"""Names that folders had once. Users may still use them; the routes of the real server do not know them."""

_HEADER_BYTES_MAX = 1024 * 1024
_EPOCH = 1_735_689_600.0


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder of `/models`: where its files lie, below the server's base folder, and what they end in.

    No extensions at all means that every file counts.
    """

    name: str
    places: tuple[str, ...]
    extensions: frozenset[str] = MODEL_EXTENSIONS


def _folder(name: str, *more: str, extensions: Iterable[str] = MODEL_EXTENSIONS) -> ModelFolder:
    return ModelFolder(name, (f"models/{name}", *more), frozenset(extensions))


FOLDERS = {
    folder.name: folder
    for folder in (
        _folder("checkpoints", "output/checkpoints"),
        _folder("configs", extensions={".yaml"}),
        _folder("loras", "output/loras"),
        _folder("vae", "output/vae"),
        _folder("text_encoders", "models/clip", "output/clip"),
        ModelFolder("diffusion_models", ("models/unet", "models/diffusion_models", "output/diffusion_models")),
        _folder("clip_vision"),
        _folder("style_models"),
        _folder("embeddings"),
        _folder("diffusers", extensions={"folder"}),
        _folder("vae_approx"),
        _folder("controlnet", "models/t2i_adapter"),
        _folder("gligen"),
        _folder("upscale_models"),
        _folder("latent_upscale_models"),
        ModelFolder("custom_nodes", ("custom_nodes",), frozenset()),
        ModelFolder("datasets", ("datasets",), frozenset()),
        _folder("hypernetworks"),
        _folder("photomaker"),
        _folder("classifiers", extensions={""}),
        _folder("model_patches"),
        _folder("audio_encoders"),
        _folder("background_removal"),
        _folder("frame_interpolation"),
        _folder("geometry_estimation"),
        _folder("optical_flow"),
        _folder("detection"),
    )
}
"""The folders in the order of `GET /models`."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file as `/experiment/models/{folder}` lists it: `size` in bytes, times in seconds since the epoch."""

    name: str
    path_index: int
    modified: float
    created: float
    size: int


class ModelFolders:
    """The models of a server: those of `models` (folder to file names), which need no file, and those in the storage.

    None stands for a set of common names; a mapping for what it names and nothing else, but for the files that every
    server has. Raises `ValueError` for a folder that there is not, `TypeError` for a text instead of a list.
    """

    def __init__(self, models: Mapping[str, Sequence[str]] | None, files: Files, folders: Folders) -> None:
        self._files = files
        self._folders = folders
        self._named: dict[str, list[str]] = {}
        self._hidden: dict[str, set[str]] = {}
        for name, names in (*(DEFAULT_MODELS if models is None else models).items(), *FIXED_FILES.items()):
            folder = _known_folder(name, names)
            self._named[folder] = list(dict.fromkeys([*self._named.get(folder, ()), *names]))

    def change(
        self, folder: str, add: Sequence[str] = (), remove: Sequence[str] = (), *, must_be_there: bool = True
    ) -> None:
        """Let files of a folder disappear, and others appear. Those in the storage are only hidden.

        Raises `ValueError` for a folder that there is not, or a file to remove that is not in it where it
        `must_be_there`, and `TypeError` for a text instead of a list.
        """
        name = _known_folder(folder, add, remove)
        offered = self.diffusers() if name == "diffusers" else self.names(name)
        for missing in sorted(set(remove) - set(offered)) if must_be_there else ():
            close = difflib.get_close_matches(missing, offered, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"there is no file {missing!r} in {folder!r} to remove{hint}")
        kept = [file for file in self._named.get(name, ()) if file not in remove]
        self._named[name] = list(dict.fromkeys([*kept, *add]))
        self._hidden[name] = (self._hidden.get(name, set()) | set(remove)) - set(add)

    def check_changes(self, changes: Iterable[ModelChange]) -> None:
        """Raise what `change` would raise for one of these when its time comes; nothing is changed."""
        rehearsed = copy.copy(self)
        rehearsed._named, rehearsed._hidden = dict(self._named), dict(self._hidden)
        for change in sorted(changes, key=lambda change: change.after_prompts):
            rehearsed.change(change.folder, change.add, change.remove)

    def paths(self, folder: str) -> list[str]:
        """The virtual paths of a folder, in the order in which they are searched. Raises `KeyError`."""
        return [f"{self._folders.base}/{place}" for place in FOLDERS[folder].places]

    def names(self, folder: str) -> list[str]:
        """The file names of a folder, relative to its paths and sorted. Raises `KeyError`."""
        stored = self._stored(folder)
        named = self._named.get(folder, ())
        return sorted({*named, *(name for name, _ in stored)}) if stored else sorted(named)

    def listing(self, folder: str) -> list[ModelFile]:
        """The files of a folder with their facts: those without a file first, with invented ones. Raises `KeyError`."""
        stored = self._stored(folder)
        taken = {name for name, _ in stored}
        listed = [_invented(name) for name in self._named.get(folder, ()) if name not in taken]
        for name, index in stored:
            stat = self._files.stat(f"{self.paths(folder)[index]}/{name}")
            if stat is not None:
                listed.append(ModelFile(name, index, stat.modified, stat.created, stat.size))
        return sorted(listed, key=lambda file: file.path_index)

    def metadata(self, folder: str, name: str) -> Any:
        """The `__metadata__` of a safetensors file; None where folder, file or metadata are missing.

        Raises `ServerTrouble` for a file that only looks like one.
        """
        folder = LEGACY_NAMES.get(folder, folder)
        if folder not in FOLDERS or not name.endswith(".safetensors") or "\0" in name:
            return None
        name = posixpath.normpath(posixpath.join("/", name)).lstrip("/")
        if name in self._hidden.get(folder, ()):
            return None
        for path in self.paths(folder):
            stat = self._files.stat(f"{path}/{name}")
            if stat is not None and not stat.is_folder:
                return _safetensors_metadata(self._files.read(f"{path}/{name}"))
        return {"modelspec.title": _title(name)} if name in self._named.get(folder, ()) else None

    def diffusers(self) -> list[str]:
        """The folders that hold a diffusers pipeline, by name: what DiffusersLoader offers."""
        found = set(self._named.get("diffusers", ()))
        for path in self.paths("diffusers"):
            for file in self._walk(path):
                if posixpath.basename(file) == "model_index.json":
                    found.add(posixpath.dirname(file))
        return sorted(found - self._hidden.get("diffusers", set()))

    def _stored(self, folder: str) -> list[tuple[str, int]]:
        """The files of a folder in the storage, each with the index of its path; an earlier path hides a later one."""
        accepted = FOLDERS[folder].extensions
        found: dict[str, int] = {}
        for index, path in enumerate(self.paths(folder)):
            for name in self._walk(path):
                if not accepted or posixpath.splitext(name)[1].lower() in accepted:
                    found.setdefault(name, index)
        hidden = self._hidden.get(folder, ())
        return [(name, index) for name, index in found.items() if name not in hidden]

    def _walk(self, path: str, below: str = "") -> Iterator[str]:
        stat = self._files.stat(f"{path}/{below}")
        if stat is None or not stat.is_folder:
            return
        folders = []
        for name in directory_order(self._files.names(f"{path}/{below}")):
            stat = self._files.stat(f"{path}/{below}{name}")
            if stat is not None and stat.is_folder:
                folders.append(name)
            elif stat is not None:
                yield f"{below}{name}"
        for name in folders:
            if name != ".git":
                yield from self._walk(path, f"{below}{name}/")


def _known_folder(name: str, *lists: Sequence[str]) -> str:
    folder = LEGACY_NAMES.get(name, name)
    if folder not in FOLDERS:
        raise ValueError(f"there is no folder of models {name!r}; the folders are {', '.join(FOLDERS)}")
    for names in lists:
        if isinstance(names, str):
            raise TypeError(f"the models of {name!r} must be a list of file names, not the text {names!r}")
    return folder


def _invented(name: str) -> ModelFile:
    """Facts for a file that is only a name, the same on every server."""
    number = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    time = _EPOCH + number % 31_536_000
    return ModelFile(name, 0, time, time, 40_000_000 + number * 3 // 2)


def _title(name: str) -> str:
    """A title for a file that is only a name. The recorded servers' one checkpoint has one of its own."""
    stem = posixpath.splitext(posixpath.basename(name))[0]
    return "random weights" if stem == "v1-5-pruned-emaonly-fp16" else stem


def _safetensors_metadata(content: bytes) -> Any:
    """What a safetensors file says of itself: its first eight bytes are the length of a JSON header."""
    length = int.from_bytes(content[:8], "little")
    if length > _HEADER_BYTES_MAX:
        return None
    try:
        header = jsontext.loads(content[8 : 8 + length])
    except ValueError as error:
        raise ServerTrouble(f"no safetensors header: {error}") from error
    return header.get("__metadata__") if isinstance(header, dict) else None

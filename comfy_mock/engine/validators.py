"""The custom validators of the core classes: what they are given, what they say (protocol 3.10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.paths import annotated, inside
from comfy_mock.engine.reasons import Frame, PythonError
from comfy_mock.engine.signatures import missing_arguments

_VALIDATOR: Frame = ("execution.py", 1091, "validate_inputs")
_CALL_WITHOUT_INPUTS: Frame = ("execution.py", 314, "_async_map_node_over_list")
_CALL: Frame = ("execution.py", 318, "_async_map_node_over_list")
_PROCESS: Frame = ("execution.py", 306, "process_inputs")
_LOAD_IMAGE: Frame = ("nodes.py", 1808, "VALIDATE_INPUTS")
_EXISTS: Frame = ("folder_paths.py", 361, "exists_annotated_filepath")
_ANNOTATED: Frame = ("folder_paths.py", 258, "annotated_filepath")

Check = Callable[[Mapping[str, Any], Files, Folders], "bool | str"]


@dataclass(frozen=True, slots=True)
class Validator:
    """A class's own check of its inputs.

    `function` is its Python name as error messages show it; `needed` are its parameters that a call must have, `known`
    those it may have; with `takes_all` it takes every declared input. `check` returns true, false or what is wrong.
    `frame` is its line in tracebacks where a recording shows it.
    """

    function: str
    check: Check
    needed: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    takes_all: bool = False
    frame: Frame | None = None

    def takes(self, name: str) -> bool:
        """Whether the validator is given the input `name`, which also exempts it from min, max and list checks."""
        return self.takes_all or name in self.needed or name in self.known

    def call(self, arguments: Mapping[str, Any], files: Files, folders: Folders) -> bool | str:
        """The verdict on `arguments`: coerced constants, links as None. Raises `PythonError` as the real one does."""
        missing = [name for name in self.needed if name not in arguments]
        where = (_VALIDATOR, _CALL if arguments else _CALL_WITHOUT_INPUTS, _PROCESS)
        if missing:
            raise PythonError("TypeError", missing_arguments(self.function, missing), *where)
        try:
            return self.check(arguments, files, folders)
        except PythonError as raised:
            here = () if self.frame is None else (self.frame,)
            raise PythonError(raised.type_name, raised.text, *where, *here, *raised.frames) from None


def annotated_path(name: Any, folders: Folders) -> str | None:
    """The virtual path of an annotated file name (`a.png [output]`), or None where it leaves its folder or cannot be.

    Raises `PythonError` for a name that is not a string, as the real server does (protocol 3.10).
    """
    if not isinstance(name, str):
        text = f"'{type(name).__name__}' object has no attribute 'endswith'"
        raise PythonError("AttributeError", text, _EXISTS, _ANNOTATED)
    bare, folder_type = annotated(name)
    folder = folders.of_type(folder_type or "input") or folders.input
    return None if "\0" in bare else inside(folder, bare)


def annotated_exists(name: Any, files: Files, folders: Folders) -> bool:
    """Whether an annotated file name leads to something, a folder included. Raises like `annotated_path`."""
    path = annotated_path(name, folders)
    try:
        return path is not None and files.stat(path) is not None
    except ValueError:  # a name that no file can have, such as one with a lone surrogate
        return False


def _file_check(input_name: str, kind: str) -> Check:
    def check(arguments: Mapping[str, Any], files: Files, folders: Folders) -> bool | str:
        value = arguments[input_name]
        return annotated_exists(value, files, folders) or f"Invalid {kind} file: {value}"

    return check


def _model_check(arguments: Mapping[str, Any], files: Files, folders: Folders) -> bool | str:
    value = arguments["model_file"]
    if not value or value == "none":
        return True
    return annotated_exists(value, files, folders) or f"Invalid 3D model file: {value}"


def _switch_check(arguments: Mapping[str, Any], _files: Files, _folders: Folders) -> bool | str:
    if "on_false" in arguments or "on_true" in arguments:
        return True
    return "At least one of on_false or on_true must be connected to Switch node"


def _content(_arguments: Mapping[str, Any], _files: Files, _folders: Folders) -> bool | str:
    return True


_LOAD_IMAGE_VALIDATOR = Validator(
    "LoadImage.VALIDATE_INPUTS", _file_check("image", "image"), ("image",), frame=_LOAD_IMAGE
)

VALIDATORS: Mapping[str, Validator] = {
    "LoadImage": _LOAD_IMAGE_VALIDATOR,
    "LoadImageMask": Validator("LoadImageMask.VALIDATE_INPUTS", _file_check("image", "image"), ("image",)),
    "LoadImageOutput": _LOAD_IMAGE_VALIDATOR,
    "LoadLatent": Validator("LoadLatent.VALIDATE_INPUTS", _file_check("latent", "latent"), ("latent",)),
    "LoadAudio": Validator("LoadAudio.validate_inputs", _file_check("audio", "audio"), ("audio",)),
    "LoadVideo": Validator("LoadVideo.validate_inputs", _file_check("file", "video"), ("file",)),
    "Load3D": Validator("Load3D.validate_inputs", _model_check, ("model_file",), takes_all=True),
    "Load3DAdvanced": Validator("Load3DAdvanced.validate_inputs", _model_check, ("model_file",), takes_all=True),
    "ComfySoftSwitchNode": Validator(
        "ComfySoftSwitchNode.validate_inputs", _switch_check, ("switch",), ("on_false", "on_true")
    ),
    "ModelAttentionBackend": Validator("ModelAttentionBackend.VALIDATE_INPUTS", _content, ("attention",)),
    "CustomCombo": Validator("CustomCombo.validate_inputs", _content, ("choice",), ("index",), takes_all=True),
    "SelectModelDevice": Validator("SelectModelDevice.validate_inputs", _content, ("device",)),
    "SelectCLIPDevice": Validator("SelectCLIPDevice.validate_inputs", _content, ("device",)),
    "SelectVAEDevice": Validator("SelectVAEDevice.validate_inputs", _content, ("device",)),
}
"""By class. No core class asks for the types of its links (`input_types`, protocol 3.5)."""

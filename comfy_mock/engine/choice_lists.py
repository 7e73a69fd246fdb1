"""The inputs whose choices are files: which class and input offers what (protocol 2.2, "computed at each request")."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from functools import partial

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.content_types import content_type_of
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.models import FOLDERS, MODEL_EXTENSIONS, ModelFolders

MODEL_INPUTS: dict[tuple[str, str], str] = {
    ("CheckpointLoaderSimple", "ckpt_name"): "checkpoints",
    ("CheckpointLoader", "ckpt_name"): "checkpoints",
    ("CheckpointLoader", "config_name"): "configs",
    ("unCLIPCheckpointLoader", "ckpt_name"): "checkpoints",
    ("ImageOnlyCheckpointLoader", "ckpt_name"): "checkpoints",
    ("CreateHookModelAsLora", "ckpt_name"): "checkpoints",
    ("CreateHookModelAsLoraModelOnly", "ckpt_name"): "checkpoints",
    ("LTXVAudioVAELoader", "ckpt_name"): "checkpoints",
    ("LTXAVTextEncoderLoader", "ckpt_name"): "checkpoints",
    ("LTXAVTextEncoderLoader", "text_encoder"): "text_encoders",
    ("CLIPLoader", "clip_name"): "text_encoders",
    ("DualCLIPLoader", "clip_name1"): "text_encoders",
    ("DualCLIPLoader", "clip_name2"): "text_encoders",
    ("TripleCLIPLoader", "clip_name1"): "text_encoders",
    ("TripleCLIPLoader", "clip_name2"): "text_encoders",
    ("TripleCLIPLoader", "clip_name3"): "text_encoders",
    ("QuadrupleCLIPLoader", "clip_name1"): "text_encoders",
    ("QuadrupleCLIPLoader", "clip_name2"): "text_encoders",
    ("QuadrupleCLIPLoader", "clip_name3"): "text_encoders",
    ("QuadrupleCLIPLoader", "clip_name4"): "text_encoders",
    ("UNETLoader", "unet_name"): "diffusion_models",
    ("LoraLoader", "lora_name"): "loras",
    ("LoraLoaderModelOnly", "lora_name"): "loras",
    ("LoraLoaderBypass", "lora_name"): "loras",
    ("LoraLoaderBypassModelOnly", "lora_name"): "loras",
    ("CreateHookLora", "lora_name"): "loras",
    ("CreateHookLoraModelOnly", "lora_name"): "loras",
    ("TrainLoraNode", "existing_lora"): "loras",
    ("VAELoader", "vae_name"): "vae",
    ("ControlNetLoader", "control_net_name"): "controlnet",
    ("DiffControlNetLoader", "control_net_name"): "controlnet",
    ("StyleModelLoader", "style_model_name"): "style_models",
    ("CLIPVisionLoader", "clip_name"): "clip_vision",
    ("GLIGENLoader", "gligen_name"): "gligen",
    ("DiffusersLoader", "model_path"): "diffusers",
    ("HypernetworkLoader", "hypernetwork_name"): "hypernetworks",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
    ("LatentUpscaleModelLoader", "model_name"): "latent_upscale_models",
    ("PhotoMakerLoader", "photomaker_model_name"): "photomaker",
    ("ModelPatchLoader", "name"): "model_patches",
    ("AudioEncoderLoader", "audio_encoder_name"): "audio_encoders",
    ("LoadBackgroundRemovalModel", "bg_removal_name"): "background_removal",
    ("FrameInterpolationModelLoader", "model_name"): "frame_interpolation",
    ("OpticalFlowLoader", "model_name"): "optical_flow",
    ("LoadMoGeModel", "model_name"): "geometry_estimation",
    ("LoadDA3Model", "model_name"): "geometry_estimation",
    ("LoadMediaPipeFaceLandmarker", "model_name"): "detection",
}
"""Class and input to the folder of `/models` whose files it offers."""

_MESHES = {".gltf", ".glb", ".obj", ".fbx", ".stl", ".spz", ".splat", ".ply", ".ksplat"}
_MESH_FOLDER = "3d"
_IMAGE_APPROXIMATIONS = ("taesd", "taesdxl", "taesd3", "taef1")
_VIDEO_APPROXIMATIONS = ("taehv", "lighttaew2_2", "lighttaew2_1", "lighttaehy1_5", "taeltx_2")


class ChoiceLists:
    """The current choices of file inputs."""

    def __init__(self, models: ModelFolders, files: Files, folders: Folders) -> None:
        self._models = models
        self._files = files
        self._folders = folders
        self._sources: dict[str, dict[str, Callable[[], list[str]]]] = {}
        for (class_type, name), folder in MODEL_INPUTS.items():
            self._add(class_type, name, partial(models.names, folder))
        self._add("VAELoader", "vae_name", self._vaes)
        self._add("TrainLoraNode", "existing_lora", lambda: [*models.names("loras"), "[None]"])
        self._add("DiffusersLoader", "model_path", models.diffusers)
        for class_type, name, kinds in (
            ("LoadImage", "image", ("image",)),
            ("LoadAudio", "audio", ("audio", "video")),
            ("LoadVideo", "file", ("video",)),
        ):
            self._add(class_type, name, partial(self._input_files, _of_kind(kinds)))
        self._add("LoadImageMask", "image", partial(self._input_files, _ending_in("")))
        self._add("LoadLatent", "latent", partial(self._input_files, _ending_in(".latent")))
        for class_type in ("GeminiInputFiles", "OpenAIInputFiles"):
            self._add(class_type, "file", partial(self._input_files, _ending_in(".txt", ".pdf")))
        for class_type in ("Load3D", "Load3DAdvanced"):
            self._add(class_type, "model_file", self._meshes)
        for kind in ("Image", "ImageText", "Video", "VideoText"):
            self._add(f"Load{kind}DataSetFromFolder", "folder", self._input_folders)
        self._add("LoadTrainingDataset", "folder_name", lambda: sorted(self._folders_in(folders.output)))

    def of(self, class_type: str) -> dict[str, list[str]]:
        """The choices of a class's file inputs, by input name."""
        return {name: source() for name, source in self._sources.get(class_type, {}).items()}

    def classes(self) -> list[str]:
        """The classes that have file inputs."""
        return list(self._sources)

    def _add(self, class_type: str, name: str, source: Callable[[], list[str]]) -> None:
        self._sources.setdefault(class_type, {})[name] = source

    def _vaes(self) -> list[str]:
        """The VAE files, the approximations that are complete, and the one that needs no file."""
        approximations = self._models.names("vae_approx")
        videos = [name for name in approximations if name.startswith(_VIDEO_APPROXIMATIONS)]
        halves = {name.split("_", 1)[0] + name.split("_", 1)[1][:7] for name in approximations if "_" in name}
        images = [name for name in _IMAGE_APPROXIMATIONS if {f"{name}encoder", f"{name}decoder"} <= halves]
        return [*self._models.names("vae"), *videos, *images, "pixel_space"]

    def _input_files(self, counts: Callable[[str], bool]) -> list[str]:
        root = self._folders.input
        return sorted(name for name in self._names(root) if counts(name) and self._is_folder(f"{root}/{name}") is False)

    def _meshes(self) -> list[str]:
        root = self._folders.input
        found = (
            path for path in self._walk(f"{root}/{_MESH_FOLDER}") if posixpath.splitext(path)[1].lower() in _MESHES
        )
        return ["none", *sorted(posixpath.relpath(path, root) for path in found)]

    def _input_folders(self) -> list[str]:
        """The folders in the input folder. The real server makes the one for meshes when it lists them."""
        return sorted({_MESH_FOLDER, *self._folders_in(self._folders.input)})

    def _folders_in(self, root: str, below: str = "") -> Iterator[str]:
        for name in self._names(f"{root}/{below}"):
            if self._is_folder(f"{root}/{below}{name}"):
                yield f"{below}{name}"
                yield from self._folders_in(root, f"{below}{name}/")

    def _walk(self, path: str) -> Iterator[str]:
        for name in self._names(path):
            entry = f"{path}/{name}"
            if self._is_folder(entry):
                yield from self._walk(entry)
            else:
                yield entry

    def _names(self, path: str) -> list[str]:
        return self._files.names(path) if self._is_folder(path) else []

    def _is_folder(self, path: str) -> bool | None:
        stat = self._files.stat(path)
        return None if stat is None else stat.is_folder


def _of_kind(kinds: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda name: content_type_of(name).split("/")[0] in kinds


def _ending_in(*endings: str) -> Callable[[str], bool]:
    return lambda name: name.endswith(endings)


def looks_like_models(choices: object) -> bool:
    """Whether a list of choices holds model files: how the inputs of custom classes are told (`accept_any_model`)."""
    endings = (*MODEL_EXTENSIONS, ".gguf", ".onnx")
    return isinstance(choices, list) and any(isinstance(choice, str) and choice.endswith(endings) for choice in choices)


def choices_of(spec: object) -> object:
    """The choices of an input's declaration, in the old form (a list as type) or the new one (`COMBO` and options)."""
    if not isinstance(spec, (list, tuple)) or not spec:
        return None
    if spec[0] == "COMBO" and len(spec) > 1 and isinstance(spec[1], dict):
        return spec[1].get("options")
    return spec[0] if isinstance(spec[0], list) else None


def models_of(catalogue: Catalogue) -> dict[str, list[str]]:
    """The model files that a saved catalogue offers, by folder: what `Options.models` needs to offer the same again."""
    found: dict[str, dict[str, None]] = {name: {} for name in FOLDERS}
    for (class_type, name), folder in MODEL_INPUTS.items():
        definition = catalogue.get(class_type)
        choices = None if definition is None else choices_of({**definition.required, **definition.optional}.get(name))
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, str) and choice not in ("[None]", "pixel_space"):
                found[folder][choice] = None
    return {folder: list(names) for folder, names in found.items() if names}

"""Nodes that load models: no file is read, the name goes with the value."""

from __future__ import annotations

from typing import Any

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import argument
from comfy_mock.engine.values import Opaque

LOAD_SECONDS = 0.5
LORA_SECONDS = 0.1


@node(
    "CheckpointLoaderSimple",
    "CheckpointLoader",
    "unCLIPCheckpointLoader",
    "ImageOnlyCheckpointLoader",
    "DiffusersLoader",
    "UNETLoader",
    "CLIPLoader",
    "DualCLIPLoader",
    "TripleCLIPLoader",
    "QuadrupleCLIPLoader",
    "VAELoader",
    "ControlNetLoader",
    "CLIPVisionLoader",
    "StyleModelLoader",
    "GLIGENLoader",
    "UpscaleModelLoader",
    "LatentUpscaleModelLoader",
    "PhotoMakerLoader",
    "ModelPatchLoader",
    "AudioEncoderLoader",
    seconds=LOAD_SECONDS,
)
def load_model(call: Call) -> Output:
    """All that is in the file of the last input that names one."""
    names = [value for name, value in call.inputs.items() if isinstance(value, str) and name.endswith(_NAMES)]
    return Output(tuple(Opaque(kind, {"name": names[-1] if names else ""}) for kind in call.definition.outputs))


_NAMES = ("_name", "name1", "name2", "name3", "name4", "model_path")


@node("LoraLoader", "LoraLoaderModelOnly", "LoraLoaderBypass", "LoraLoaderBypassModelOnly", seconds=LORA_SECONDS)
def load_lora(call: Call) -> Output:
    """The model, and CLIP where the class has it, with a LoRA on it, unless its strength is nothing."""
    values = []
    for kind in call.definition.outputs:
        given = argument(call, kind.lower())
        strength = call.inputs[f"strength_{kind.lower()}"]
        values.append(_with_lora(given, call.inputs["lora_name"], strength) if strength else given)
    return Output(tuple(values))


def _with_lora(given: Any, name: str, strength: float) -> Any:
    if not isinstance(given, Opaque):
        return given
    loras = (*given.facts.get("loras", ()), (name, strength))
    return Opaque(given.type, {**given.facts, "loras": loras})

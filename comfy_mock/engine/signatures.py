"""The Python functions behind the classes, as far as error messages show them (protocol 3.9 to 3.11)."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_contracts.catalogue import NodeDefinition

_V1_FUNCTIONS = {
    "CLIPLoader": "load_clip",
    "CLIPSetLastLayer": "set_last_layer",
    "CLIPTextEncode": "encode",
    "CLIPVisionEncode": "encode",
    "CLIPVisionLoader": "load_clip",
    "CheckpointLoader": "load_checkpoint",
    "CheckpointLoaderSimple": "load_checkpoint",
    "ConditioningAverage": "addWeighted",
    "ConditioningCombine": "combine",
    "ConditioningConcat": "concat",
    "ConditioningSetArea": "append",
    "ConditioningSetAreaPercentage": "append",
    "ConditioningSetAreaStrength": "append",
    "ConditioningSetMask": "append",
    "ConditioningSetTimestepRange": "set_range",
    "ConditioningZeroOut": "zero_out",
    "ControlNetApply": "apply_controlnet",
    "ControlNetApplyAdvanced": "apply_controlnet",
    "ControlNetLoader": "load_controlnet",
    "DiffControlNetLoader": "load_controlnet",
    "DiffusersLoader": "load_checkpoint",
    "DualCLIPLoader": "load_clip",
    "EmptyImage": "generate",
    "EmptyLatentImage": "generate",
    "GLIGENLoader": "load_gligen",
    "GLIGENTextBoxApply": "append",
    "ImageBatch": "batch",
    "ImageInvert": "invert",
    "ImagePadForOutpaint": "expand_image",
    "ImageScale": "upscale",
    "ImageScaleBy": "upscale",
    "InpaintModelConditioning": "encode",
    "KSampler": "sample",
    "KSamplerAdvanced": "sample",
    "LatentBlend": "blend",
    "LatentComposite": "composite",
    "LatentCrop": "crop",
    "LatentFlip": "flip",
    "LatentFromBatch": "frombatch",
    "LatentRotate": "rotate",
    "LatentUpscale": "upscale",
    "LatentUpscaleBy": "upscale",
    "LoadImage": "load_image",
    "LoadImageMask": "load_image",
    "LoadLatent": "load",
    "LoraLoader": "load_lora",
    "LoraLoaderModelOnly": "load_lora_model_only",
    "PreviewAny": "main",
    "RepeatLatentBatch": "repeat",
    "SaveImage": "save_images",
    "SaveImageWebsocket": "save_images",
    "SaveLatent": "save",
    "SetLatentNoiseMask": "set_mask",
    "StyleModelApply": "apply_stylemodel",
    "StyleModelLoader": "load_style_model",
    "UNETLoader": "load_unet",
    "VAEDecode": "decode",
    "VAEDecodeTiled": "decode",
    "VAEEncode": "encode",
    "VAEEncodeForInpaint": "encode",
    "VAEEncodeTiled": "encode",
    "VAELoader": "load_vae",
    "unCLIPCheckpointLoader": "load_checkpoint",
    "unCLIPConditioning": "apply_adm",
}

_INHERITED = {"PreviewImage": "SaveImage", "LoadImageOutput": "LoadImage"}

_TAKING_ANY_ARGUMENT = frozenset({"CustomCombo", "Load3D"})


def function_name(definition: NodeDefinition) -> str:
    """The qualified name of a class's function, e.g. `KSampler.sample`, without parentheses.

    Classes of the newer schema all have `execute`. `/object_info` does not tell the name for the older ones: the common
    ones of the core are known here, any other is guessed to be `execute` as well.
    """
    owner = _INHERITED.get(definition.class_type, definition.class_type)
    function = "execute" if definition.is_v3 else _V1_FUNCTIONS.get(owner, "execute")
    return f"{owner}.{function}"


def takes_any_argument(definition: NodeDefinition) -> bool:
    """Whether the class's function has `**kwargs`, so that no argument is unexpected."""
    return definition.class_type in _TAKING_ANY_ARGUMENT


def missing_arguments(function: str, names: Sequence[str]) -> str:
    """Python's complaint about a call of `function` without its positional arguments `names`."""
    quoted = [f"'{name}'" for name in names]
    listed = f"{', '.join(quoted[:-1])}, and {quoted[-1]}" if len(quoted) > 2 else " and ".join(quoted)
    return f"{function}() missing {len(quoted)} required positional argument{'s' * (len(quoted) > 1)}: {listed}"


def unexpected_argument(function: str, name: str) -> str:
    """Python's complaint about a call of `function` with a keyword argument that it does not have."""
    return f"{function}() got an unexpected keyword argument '{name}'"

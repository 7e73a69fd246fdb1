"""The constants and links of single inputs, by the server's rules (protocol 3.5, 3.7, 3.8, 3.10)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from comfy_client._declared_inputs import DYNAMIC_COMBO, DeclaredInput
from comfy_contracts.catalogue import NodeDefinition

_COERCIONS: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}

_LINK_ONLY = frozenset(
    {
        *("MODEL", "CLIP", "VAE", "CONDITIONING", "LATENT", "IMAGE", "MASK", "CONTROL_NET", "CLIP_VISION"),
        *("CLIP_VISION_OUTPUT", "STYLE_MODEL", "UPSCALE_MODEL", "SIGMAS", "SAMPLER", "GUIDER", "NOISE"),
        *("AUDIO", "VIDEO", "MESH"),
    }
)
"""Types whose values no JSON can hold. The server lets constants pass there, and the node fails (protocol 3.11)."""

_FILE_LOADERS: dict[str, str] = {
    "LoadImage": "image",
    "LoadImageMask": "image",
    "LoadImageOutput": "image",
    "LoadLatent": "latent",
    "LoadAudio": "audio",
    "LoadVideo": "file",
}
"""Classes that look for a file on the server's disk, whatever their list of choices says (protocol 3.10)."""

_VALIDATES_ITSELF: dict[str, frozenset[str] | None] = {
    "Load3D": None,
    "Load3DAdvanced": None,
    "CustomCombo": None,
    "ModelAttentionBackend": frozenset({"attention"}),
    "SelectModelDevice": frozenset({"device"}),
    "SelectCLIPDevice": frozenset({"device"}),
    "SelectVAEDevice": frozenset({"device"}),
}
"""Other classes with a validator of their own, to the inputs whose range and choices the server leaves to it (protocol
3.10); None for all inputs."""

_FILE_NAME = re.compile(r"\.[A-Za-z][A-Za-z0-9]+$")
_SERVERS_OWN_NAMES = frozenset({"vae_name", "existing_lora"})
_CHOICES_SHOWN_MAX = 12


Consequence = Literal["refused", "fails", "ignored", "unsure"]
"""What comes of a problem: the server refuses the output it belongs to; or takes it, and the run fails; or nothing; or
it depends on what the catalogue cannot tell."""


class Finding(NamedTuple):
    """Something wrong with an input, before it is known which node it is of."""

    kind: str
    input_name: str
    message: str
    consequence: Consequence


def types_match(received: Any, wanted: Any) -> bool:
    """Whether a server lets an output of type `received` be linked to an input of type `wanted` (protocol 3.8)."""
    if received == wanted or any(kind in ("*", "COMFY_MATCHTYPE_V3") for kind in (received, wanted)):
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return isinstance(received, list) and bool(wanted == "COMBO")
    offered, taken = ({part.strip() for part in kind.split(",")} for kind in (received, wanted))
    return not offered.isdisjoint(taken) or "*" in offered | taken


def is_custom(definition: NodeDefinition) -> bool:
    """Whether the class is not ComfyUI's own: then the catalogue does not tell all of its validation."""
    return definition.python_module.partition(".")[0] == "custom_nodes"


def check_constant(
    definition: NodeDefinition, declared: DeclaredInput, value: Any, *, of_server: bool
) -> Iterator[Finding]:
    """What is wrong with a value that is no link. `of_server` is whether the catalogue is that of the server."""
    name = declared.name
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if isinstance(declared.type, str) and declared.type in _LINK_ONLY and (declared.required or value is not None):
        text = f"`{name}` takes the output of another node, of type {declared.type}, not {_short(value)}"
        yield Finding("constant_for_link", name, text, "fails")
        return
    coerce = _COERCIONS.get(declared.type) if isinstance(declared.type, str) else None
    try:
        coerced = value if coerce is None else coerce(value)
    except (TypeError, ValueError, OverflowError):
        text = f"`{name}` takes {_a_type(declared.type)}, and {_short(value)} cannot be read as one"
        yield Finding("invalid_input_type", name, text, "refused")
        return
    if definition.class_type in _FILE_LOADERS and name == _FILE_LOADERS[definition.class_type]:
        if not isinstance(coerced, str):
            yield Finding("invalid_input_type", name, f"`{name}` takes a file's name, not {_short(value)}", "refused")
        return
    own_validator = _VALIDATES_ITSELF.get(definition.class_type, frozenset())
    if own_validator is None or name in own_validator:
        return
    finding = _range(declared, coerced) or _choice(declared, coerced)
    if finding is not None:
        yield finding._replace(consequence="unsure") if _unsure(definition, declared, finding, of_server) else finding


def _range(declared: DeclaredInput, value: Any) -> Finding | None:
    low, high = declared.options.get("min"), declared.options.get("max")
    try:
        if low is not None and value < low:
            kind = "value_smaller_than_min"
        elif high is not None and value > high:
            kind = "value_bigger_than_max"
        else:
            return None
    except TypeError:
        text = f"`{declared.name}` takes {declared.type_name}, and {_short(value)} is no number"
        return Finding("invalid_input_type", declared.name, text, "refused")
    bounds = (
        f"{low} to {high}" if low is not None and high is not None else f"{low} up" if high is None else f"up to {high}"
    )
    return Finding(kind, declared.name, f"`{declared.name}` is {value}; it takes {bounds}", "refused")


def _choice(declared: DeclaredInput, value: Any) -> Finding | None:
    choices = declared.choices
    if choices is None:
        return None
    several = isinstance(value, list) and bool(declared.options.get("multiselect"))
    strangers = [item for item in (value if several else [value]) if item not in choices]
    if not strangers:
        return None
    text = f"`{declared.name}` is {', '.join(map(_short, strangers))}; {_describe_choices(choices, strangers[0])}"
    # An unknown choice of dynamic inputs passes validation, and the node cannot be called (protocol 3.9).
    return Finding("value_not_in_list", declared.name, text, "fails" if declared.type == DYNAMIC_COMBO else "refused")


def _describe_choices(choices: list[Any], value: Any) -> str:
    if not choices:
        return "the server has no choice to offer there"
    texts = [str(choice) for choice in choices]
    near = difflib.get_close_matches(str(value), texts, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    if len(choices) <= _CHOICES_SHOWN_MAX:
        return f"it takes one of {', '.join(map(repr, choices))}{hint}"
    return f"that is none of its {len(choices)} choices{hint}"


def _unsure(definition: NodeDefinition, declared: DeclaredInput, finding: Finding, of_server: bool) -> bool:
    """Whether the server may see it otherwise: a validator of a custom node, or files that only it knows."""
    return is_custom(definition) or (not of_server and finding.kind == "value_not_in_list" and _offers_files(declared))


def _offers_files(declared: DeclaredInput) -> bool:
    options, choices = declared.options, declared.choices or []
    return (
        not choices
        or "remote" in options
        or declared.name in _SERVERS_OWN_NAMES
        or any(key.endswith(("_upload", "_folder")) for key in options)
        or any(isinstance(choice, str) and _FILE_NAME.search(choice) for choice in choices)
    )


def _a_type(kind: str) -> str:
    return {"INT": "a whole number", "FLOAT": "a number"}.get(kind, kind)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

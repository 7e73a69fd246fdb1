"""The arguments of a call, checked as far as the real functions would notice.

Validation lets constants through for inputs that only take links, `null` among them (protocol 3.11), and does not miss
an absent dynamic input (protocol 3.9). Both show when the node runs, with the errors raised here.
"""

from __future__ import annotations

from typing import Any, TypeVar

from comfy_mock.engine.nodes.api import Call
from comfy_mock.engine.values import Audio, Image, Latent, Mask, Opaque, Video

_Kind = TypeVar("_Kind", Image, Mask, Latent, Audio, Video)


def argument(call: Call, name: str) -> Any:
    """The value of a required input.

    Raises `TypeError` with Python's words for a missing argument (protocol 3.9).
    """
    try:
        return call.inputs[name]
    except KeyError:
        message = f"{call.class_type}.execute() missing 1 required positional argument: '{name}'"
        raise TypeError(message) from None


def image(call: Call, name: str) -> Image:
    """The IMAGE of a required input. Raises as `argument` does, and as `checked` for other values."""
    return checked(argument(call, name), Image)


def images_to_save(call: Call, name: str) -> Image:
    """The IMAGE of a saver, which looks at the shape of the first picture: other values raise what that raises."""
    value = argument(call, name)
    return value if isinstance(value, Image) else checked(value[0], Image)


def mask(call: Call, name: str) -> Mask:
    """The MASK of a required input. Raises as `image` does."""
    return checked(argument(call, name), Mask)


def latent(call: Call, name: str) -> Latent:
    """The LATENT of a required input. Raises as `image` does."""
    return checked(argument(call, name), Latent)


def audio(call: Call, name: str) -> Audio:
    """The AUDIO of a required input. Raises as `image` does."""
    return checked(argument(call, name), Audio)


def video(call: Call, name: str) -> Video:
    """The VIDEO of a required input. Raises as `image` does."""
    return checked(argument(call, name), Video)


def model(call: Call, name: str, method: str) -> Opaque:
    """The model of a required input, of whatever type.

    Raises `AttributeError` for other values; `method` is what the real node would have called.
    """
    value = argument(call, name)
    if isinstance(value, Opaque):
        return value
    raise AttributeError(f"'{type(value).__name__}' object has no attribute '{method}'")


def optional_image(call: Call, name: str) -> Image | None:
    """The IMAGE of an optional input, None where it is absent or null."""
    value = call.inputs.get(name)
    return None if value is None else checked(value, Image)


def optional_mask(call: Call, name: str) -> Mask | None:
    """The MASK of an optional input, None where it is absent or null."""
    value = call.inputs.get(name)
    return None if value is None else checked(value, Mask)


def optional_audio(call: Call, name: str) -> Audio | None:
    """The AUDIO of an optional input, None where it is absent or null."""
    value = call.inputs.get(name)
    return None if value is None else checked(value, Audio)


def grown(call: Call, name: str) -> list[Any]:
    """The values of a growing input (`COMFY_AUTOGROW_V3`, protocol 3.9), in the order of the call."""
    return [value for key, value in call.inputs.items() if key.startswith(f"{name}.")]


def checked(value: Any, kind: type[_Kind]) -> _Kind:
    """`value`, if it is of the wanted kind.

    Raises what Python raises when a tensor or a dictionary is wanted and something else is there: `AttributeError` for
    IMAGE, MASK and VIDEO, `TypeError` for LATENT and AUDIO, which are dictionaries on the real server.
    """
    if isinstance(value, kind):
        return value
    name = type(value).__name__
    if kind in (Latent, Audio):
        raise TypeError(f"'{name}' object is not subscriptable")
    attribute = "get_components" if kind is Video else "shape"
    raise AttributeError(f"'{name}' object has no attribute '{attribute}'")

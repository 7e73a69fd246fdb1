"""What the server says it can do: `GET /features` and the `feature_flags` message (protocol 2.2, 6.3)."""

from __future__ import annotations

from typing import Any

from comfy_contracts.profiles import Profile
from comfy_mock.engine.options import Options

_DEFAULT_MB = Options.max_upload_size
_BOOLEAN_FLAGS = {"show_signin_button", "enable_telemetry"}


def features(options: Options) -> dict[str, Any]:
    """The feature flags of a server started with `options`, in the real server's order, those that its version has.

    `max_upload_size` is in bytes, a fraction of one included: the default is an integer, what the switch says a float.
    `options.feature_flags` come last: strings, but for the two that are registered as booleans; those of the core
    cannot be overridden.
    """
    profile = Profile.of(options.version)
    of_assets = profile.has("features_of_assets")
    size = options.max_upload_size * 1048576
    core: dict[str, Any] = {
        "supports_preview_metadata": True,
        **({"supports_model_type_tags": True} if of_assets else {}),
        "max_upload_size": int(size) if options.max_upload_size == _DEFAULT_MB else float(size),
        **({"extension": {"manager": {"supports_v4": True}}} if profile.has("features_extension") else {}),
        **({"node_replacements": True, "assets": False} if of_assets else {}),
    }
    return core | {
        name: value.lower() == "true" if name in _BOOLEAN_FLAGS else value
        for name, value in options.feature_flags.items()
        if name not in core
    }

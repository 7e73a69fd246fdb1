"""The switches of a server: ComfyUI's own that change the wire (protocol 8), and what only a fake needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

CacheMode = Literal["default", "classic", "lru", "none"]

PREVIEW_METHODS = ("none", "auto", "latent2rgb", "taesd")

_CHOICES: Mapping[str, Sequence[str]] = {
    "preview_method": PREVIEW_METHODS,
    "cache": get_args(CacheMode),
    "default_hashing_function": ("md5", "sha1", "sha256", "sha512"),
}
_SWITCHES = (
    "enable_compress_response_body",
    "multi_user",
    "disable_metadata",
    "disable_api_nodes",
    "accept_any_model",
    "accept_any_node",
)
_DAY_S = 86400
_HASH_SEED_MAX = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a simulated server was started. The defaults are those of `python main.py` on a CPU.

    `models` maps a folder of `/models` to its files; None stands for a set of common names. `seed` feeds all that the
    real server draws at random (prompt ids, session ids, file name letters, pictures); `hash_seed` plays the part of
    PYTHONHASHSEED in the order of outputs and of errors (protocol 3.13). `preview_size` is in pixels, `max_upload_size`
    in MiB, `cache_size` the number of results that the cache `"lru"` keeps.

    Raises `ValueError`, which says what is allowed, for a value that a field cannot have.
    """

    version: str = "0.33.0"
    preview_method: str = "none"
    preview_size: int = 512
    cache: CacheMode = "default"
    cache_size: int = 0
    enable_cors_header: str | None = None
    enable_compress_response_body: bool = False
    max_upload_size: float = 100
    multi_user: bool = False
    disable_metadata: bool = False
    disable_api_nodes: bool = False
    feature_flags: Mapping[str, str] = field(default_factory=dict)
    default_hashing_function: str = "sha256"
    argv: Sequence[str] = ("main.py",)

    models: Mapping[str, Sequence[str]] | None = None
    accept_any_model: bool = False
    accept_any_node: bool = False
    utc_offset_s: int = 0
    seed: int = 0
    hash_seed: int = 0
    system: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_collections()

    def _check_choices(self) -> None:
        _need("version", self.version, "a text such as '0.33.0'", isinstance(self.version, str))
        for name, allowed in _CHOICES.items():
            given = getattr(self, name)
            _need(name, given, f"one of {', '.join(map(repr, allowed))}", isinstance(given, str) and given in allowed)
        origin = self.enable_cors_header
        _need(
            "enable_cors_header",
            origin,
            "an origin, '*' for any, or None for no header",
            origin is None or isinstance(origin, str),
        )
        for name in _SWITCHES:
            _need(name, getattr(self, name), "True or False", isinstance(getattr(self, name), bool))

    def _check_numbers(self) -> None:
        least = 1 if self.cache == "lru" else 0
        for name, allowed, lowest, highest in (
            ("preview_size", "a whole number of pixels, 1 or more", 1, math.inf),
            ("cache_size", f"a whole number of results, {least} or more with cache {self.cache!r}", least, math.inf),
            ("utc_offset_s", "a whole number of seconds, less than a day", 1 - _DAY_S, _DAY_S - 1),
            ("seed", "a whole number", -math.inf, math.inf),
            ("hash_seed", f"a whole number from 0 to {_HASH_SEED_MAX}", 0, _HASH_SEED_MAX),
        ):
            given = getattr(self, name)
            _need(name, given, allowed, _is_a(int, given) and lowest <= given <= highest)
        size = self.max_upload_size
        _need("max_upload_size", size, "a number of MiB above 0", _is_a((int, float), size) and 0 < size < math.inf)

    def _check_collections(self) -> None:
        flags = self.feature_flags
        _need(
            "feature_flags",
            flags,
            "a mapping of names to texts, such as {'show_signin_button': 'true'}",
            isinstance(flags, Mapping) and _are_texts([*flags.keys(), *flags.values()]),
        )
        _need("argv", self.argv, "a list of texts, such as ['main.py', '--cpu']", _are_texts(self.argv))
        _need("system", self.system, "a mapping of names in /system_stats to values", isinstance(self.system, Mapping))
        if self.models is None:
            return
        allowed = "a mapping of folders to lists of file names, such as {'loras': ['a.safetensors']}"
        _need("models", self.models, f"{allowed}, or None", isinstance(self.models, Mapping))
        _need("models", self.models, allowed, _are_texts([*self.models]))
        for folder, names in self.models.items():
            _need(f"models[{folder!r}]", names, "a list of file names", _are_texts(names))

    @property
    def upload_bytes_max(self) -> int:
        """The largest request body, in bytes (protocol 1.6)."""
        return round(self.max_upload_size * 1048576)

    def preview_method_for(self, wanted: Any) -> str:
        """The preview method of a prompt that asks for `wanted` in its extra_data (protocol 5.17)."""
        method = wanted if isinstance(wanted, str) and wanted in PREVIEW_METHODS else self.preview_method
        return "latent2rgb" if method in ("auto", "taesd") else method


def _need(name: str, given: Any, allowed: str, fits: bool) -> None:
    if not fits:
        raise ValueError(f"{name} must be {allowed}, not {given!r}")


def _is_a(kinds: type | tuple[type, ...], value: Any) -> bool:
    """A boolean is no number, whatever Python says."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, str) for item in value)

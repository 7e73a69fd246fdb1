"""The switches of a server: ComfyUI's own that change the wire (protocol 8), and what only a fake needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

CacheMode = Literal["default", "classic", "lru", "none"]

PREVIEW_METHODS = ("none", "auto", "latent2rgb", "taesd")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a simulated server was started. The defaults are those of `python main.py` on a CPU.

    `models` maps a folder of `/models` to its files; None stands for a set of common names. `seed` feeds all that the
    real server draws at random (prompt ids, session ids, file name letters, pictures); `hash_seed` plays the part of
    PYTHONHASHSEED in the order of outputs and of errors (protocol 3.13).
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

    @property
    def upload_bytes_max(self) -> int:
        """The largest request body, in bytes (protocol 1.6)."""
        return round(self.max_upload_size * 1048576)

    def preview_method_for(self, wanted: Any) -> str:
        """The preview method of a prompt that asks for `wanted` in its extra_data (protocol 5.17)."""
        method = wanted if isinstance(wanted, str) and wanted in PREVIEW_METHODS else self.preview_method
        return "latent2rgb" if method in ("auto", "taesd") else method

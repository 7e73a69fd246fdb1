"""What a server can be started with, and how a value that cannot be is refused (protocol 8)."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from comfy_mock import ComfyMock, Instance
from comfy_mock.engine.options import Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": None}, "version must be a text such as '0.33.0', not None"),
        ({"version": 0.33}, "version must be a text"),
        (
            {"preview_method": "latent"},
            "preview_method must be one of 'none', 'auto', 'latent2rgb', 'taesd', not 'latent'",
        ),
        ({"preview_method": None}, "preview_method must be one of"),
        ({"preview_size": 0}, "preview_size must be a whole number of pixels, 1 or more, not 0"),
        ({"preview_size": 1.5}, "preview_size must be a whole number"),
        ({"preview_size": True}, "preview_size must be a whole number"),
        ({"cache": "LRU"}, "cache must be one of 'default', 'classic', 'lru', 'none', not 'LRU'"),
        ({"cache": ["lru"]}, "cache must be one of"),
        ({"cache": "lru"}, "cache_size must be a whole number of results, 1 or more with cache 'lru', not 0"),
        ({"cache_size": -1}, "cache_size must be a whole number of results, 0 or more with cache 'default', not -1"),
        ({"cache_size": math.nan}, "cache_size must be a whole number"),
        ({"enable_cors_header": True}, "enable_cors_header must be an origin, '*' for any, or None for no header"),
        ({"enable_compress_response_body": 1}, "enable_compress_response_body must be True or False, not 1"),
        ({"multi_user": "no"}, "multi_user must be True or False, not 'no'"),
        ({"disable_metadata": None}, "disable_metadata must be True or False"),
        ({"disable_api_nodes": 0}, "disable_api_nodes must be True or False"),
        ({"accept_any_model": "false"}, "accept_any_model must be True or False"),
        ({"accept_any_node": "false"}, "accept_any_node must be True or False"),
        ({"max_upload_size": 0}, "max_upload_size must be a number of MiB above 0, not 0"),
        ({"max_upload_size": math.nan}, "max_upload_size must be a number of MiB above 0, not nan"),
        ({"max_upload_size": math.inf}, "max_upload_size must be a number of MiB above 0, not inf"),
        ({"max_upload_size": "100"}, "max_upload_size must be a number of MiB"),
        (
            {"default_hashing_function": "crc32"},
            "default_hashing_function must be one of 'md5', 'sha1', 'sha256', 'sha512', not 'crc32'",
        ),
        ({"feature_flags": ["a"]}, "feature_flags must be a mapping of names to texts"),
        ({"feature_flags": {"a": True}}, "feature_flags must be a mapping of names to texts"),
        ({"argv": "main.py --cpu"}, "argv must be a list of texts, such as ['main.py', '--cpu'], not 'main.py --cpu'"),
        ({"models": ["a.safetensors"]}, "models must be a mapping of folders to lists of file names"),
        ({"models": {1: []}}, "models must be a mapping of folders to lists of file names"),
        ({"models": {"loras": "a.pt"}}, "models['loras'] must be a list of file names, not 'a.pt'"),
        ({"models": {"loras": [1]}}, "models['loras'] must be a list of file names, not [1]"),
        ({"utc_offset_s": 86400}, "utc_offset_s must be a whole number of seconds, less than a day, not 86400"),
        ({"utc_offset_s": 0.5}, "utc_offset_s must be a whole number of seconds"),
        ({"seed": "a"}, "seed must be a whole number, not 'a'"),
        ({"hash_seed": -1}, "hash_seed must be a whole number from 0 to 4294967295, not -1"),
        ({"hash_seed": 2**32}, "hash_seed must be a whole number from 0 to 4294967295"),
        ({"system": "linux"}, "system must be a mapping of names in /system_stats to values, not 'linux'"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_is_allowed(options: dict[str, Any], message: str) -> None:
    for make in (Options, Instance, ComfyMock):
        with pytest.raises(ValueError, match=re.escape(message)):
            make(**options)


@pytest.mark.parametrize(
    "options",
    [{"preview_method": method} for method in ("none", "auto", "latent2rgb", "taesd")]
    + [{"default_hashing_function": name} for name in ("md5", "sha1", "sha256", "sha512")]
    + [{"cache": mode, "cache_size": 1} for mode in ("default", "classic", "lru", "none")]
    + [
        {"preview_size": 1},
        {"enable_cors_header": "*"},
        {"max_upload_size": 0.01},
        {"feature_flags": {"num": "3"}},
        {"argv": ["main.py", "--cpu"]},
        {"models": {}},
        {"models": {"loras": (), "vae": ["v.pt"]}},
        {"utc_offset_s": -39600},
        {"seed": -(10**30)},
        {"hash_seed": 2**32 - 1},
        {"system": {"os": "win32"}},
    ],
)
def test_what_comfyui_allows_is_allowed(options: dict[str, Any]) -> None:
    made = Options(**options)
    assert {name: getattr(made, name) for name in options} == options

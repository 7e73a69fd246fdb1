"""What savers write about a prompt into their files (protocol 7.2, 7.3)."""

from __future__ import annotations

from comfy_contracts import jsontext
from comfy_mock.engine.media import Texts
from comfy_mock.engine.nodes.api import Call


def texts(call: Call, *, even_if_disabled: bool = False) -> Texts:
    """The pairs for the files of `call`: `prompt`, then each key of extra_pnginfo, as JSON in Python's default dump.

    Empty with `--disable-metadata`, except for the one saver that does not look at it (SaveWEBM: `even_if_disabled`).
    """
    if call.disable_metadata and not even_if_disabled:
        return ()
    pairs: list[tuple[str, str]] = []
    if call.prompt is not None:
        pairs.append(("prompt", jsontext.dumps(call.prompt)))
    if call.extra_pnginfo is not None:
        pairs.extend((key, jsontext.dumps(call.extra_pnginfo[key])) for key in call.extra_pnginfo)
    return tuple(pairs)

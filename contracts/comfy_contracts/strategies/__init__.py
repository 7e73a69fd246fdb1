"""Hypothesis strategies for what ComfyUI is sent and what it says: prompts, broken prompts and event traces.

They need the extra `test` (docs/strategies.md):

    from hypothesis import given
    from comfy_contracts.strategies import prompts

    @given(prompts(classes=["EmptyImage", "ImageInvert", "PreviewImage"]))
    def test_my_queue_takes_any_prompt(prompt): ...

Schedules of faults are in `comfy_mock.strategies`, for it is the fake that plays them.
"""

from __future__ import annotations

try:
    import hypothesis as _hypothesis  # noqa: F401 - only whether it is there
except ImportError as missing:
    raise ImportError(
        "comfy_contracts.strategies needs Hypothesis; install it with `pip install comfy-mock[test]`"
    ) from missing

from comfy_contracts.strategies.broken import FAULTS, BrokenPrompt, Fault, broken_prompts
from comfy_contracts.strategies.building import prompts
from comfy_contracts.strategies.telling import Ending, Payload, Trace
from comfy_contracts.strategies.tracing import traces

__all__ = [
    "FAULTS",
    "BrokenPrompt",
    "Ending",
    "Fault",
    "Payload",
    "Trace",
    "broken_prompts",
    "prompts",
    "traces",
]

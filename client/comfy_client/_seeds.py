"""The seeds of a prompt: which inputs they are, and other values for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from comfy_client._declared_inputs import declared_inputs
from comfy_client._errors import WorkflowError
from comfy_contracts.catalogue import Catalogue

SEED_MAX = 2**64 - 1
"""The largest seed that ComfyUI's samplers take."""

_NAMES = frozenset({"seed", "noise_seed"})


def check_seed(seed: object) -> None:
    """Raise `WorkflowError` where that is no seed."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= SEED_MAX:
        raise WorkflowError(f"a seed is a whole number from 0 to {SEED_MAX}, not {seed!r}")


def seed_inputs(prompt: Mapping[str, Mapping[str, Any]], catalogue: Catalogue) -> Iterator[tuple[str, str, int]]:
    """The seeds of a prompt: node id, input name and value of each.

    A seed is an INT that the editor may change after each run (`control_after_generate`); of a class that the catalogue
    does not know, an integer called `seed` or `noise_seed`. Seeds that come from another node are that node's.
    """
    for node_id, node in prompt.items():
        definition = catalogue.get(node["class_type"])
        declared = None if definition is None else declared_inputs(definition, node["inputs"])
        for name, value in node["inputs"].items():
            if not isinstance(value, int) or isinstance(value, bool):
                continue
            if declared is None:
                is_seed = name in _NAMES
            else:
                one = declared.get(name)
                is_seed = one is not None and one.type == "INT" and "control_after_generate" in one.options
            if is_seed:
                yield node_id, name, value

"""What nodes do: a rule for every class whose behaviour is known, and one for all others.

The rules stand in the modules of this package, which are imported when the first node is looked up.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.nodes.api import BEHAVIOURS, Behaviour
from comfy_mock.engine.nodes.generic import GENERIC


def behaviour(definition: NodeDefinition) -> Behaviour:
    """The registered behaviour of a class, or the generic one, which works from the declared outputs alone."""
    _load_rules()
    return BEHAVIOURS.get(definition.class_type, GENERIC)


@cache
def _load_rules() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")

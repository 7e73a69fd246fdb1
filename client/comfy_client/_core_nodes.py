"""ComfyUI's own node classes, for type checkers and editors: see the stub beside this file."""

from __future__ import annotations


class CoreNodes:
    """What the stub says it has, `NodeNamespace` makes when it is asked for."""

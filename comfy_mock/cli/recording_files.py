"""Recordings that are named on the command line."""

from __future__ import annotations

from pathlib import Path


def recordings_at(source: Path) -> dict[str, Path]:
    """The recordings that a path stands for, by name: the file itself, or those in a folder (`.har`, `.har.gz`).

    Raises `ValueError` where it is a folder that has none.
    """
    if not source.is_dir():
        return {_name(source): source}
    found = sorted([*source.glob("*.har"), *source.glob("*.har.gz")])
    if not found:
        raise ValueError(f"there are no .har or .har.gz files in {source}")
    return {_name(file): file for file in found}


def _name(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".har")

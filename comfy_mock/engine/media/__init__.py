"""Encoders and decoders of the files that nodes write and read: equal inputs make equal bytes."""

from __future__ import annotations

Texts = tuple[tuple[str, str], ...]
"""A file's metadata: pairs of key and text, in the order in which they are written."""

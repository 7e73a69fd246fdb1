"""A mock server for the ComfyUI API."""

__version__ = "0.1.0"

"""The reference client of the ComfyUI API."""

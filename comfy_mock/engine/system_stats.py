"""The machine that the server runs on, as far as clients see it: `GET /system_stats` (protocol 2.2)."""

from __future__ import annotations

from typing import Any

import msgspec

from comfy_contracts.profiles import Profile
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.model import Memory

_RAM_TOTAL = 25_276_510_208
_RAM_FREE = 14_583_529_472

_PACKAGES = {
    "comfyui-frontend-package": "1.49.6",
    "comfyui-workflow-templates": "0.11.44",
    "comfyui-embedded-docs": "0.5.10",
    "comfy-kitchen": "0.2.31",
    "comfy-aimdo": "0.4.13",
}


def system_stats(options: Options, memory: Memory | None = None) -> dict[str, Any]:
    """The facts of a machine without a graphics card, sizes in bytes, always the same, as its version tells them.

    `options.system` replaces some: its `devices` is the list of devices, every other key one of `system`. The figures
    of `memory` replace these again, those of video memory in every device.
    """
    figures = {} if memory is None else msgspec.structs.asdict(memory)
    given = {name: size for name, size in figures.items() if size is not None}
    ram = {name: given.pop(name) for name in ("ram_total", "ram_free") if name in given}
    device = {
        "name": "cpu",
        "type": "cpu",
        "index": None,
        "vram_total": _RAM_TOTAL,
        "vram_free": _RAM_FREE,
        "torch_vram_total": _RAM_TOTAL,
        "torch_vram_free": _RAM_FREE,
    }
    profile = Profile.of(options.version)
    is_new = profile.has("system_stats_packages")
    templates = _PACKAGES["comfyui-workflow-templates"]
    system = {
        "os": "linux" if profile.has("system_stats_platform") else "posix",
        "ram_total": _RAM_TOTAL,
        "ram_free": _RAM_FREE,
        "comfyui_version": options.version,
        "required_frontend_version": _PACKAGES["comfyui-frontend-package"],
        "installed_templates_version": templates,
        "required_templates_version": templates,
        "comfy_package_versions": [
            {"name": name, "installed": version, "required": version} for name, version in _PACKAGES.items()
        ],
        "python_version": "3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]",
        "pytorch_version": "2.15.0+cu132",
        "embedded_python": False,
        "deploy_environment": "local-git",
        "argv": list(options.argv),
    }
    if not is_new:
        del system["comfy_package_versions"], system["deploy_environment"]
    replaced = {name: value for name, value in options.system.items() if name != "devices"}
    devices = [{**device, **given} for device in options.system.get("devices", [device])]
    return {"system": system | replaced | ram, "devices": devices if is_new else devices[:1]}

"""Python clients from PyPI against the fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.interop

CLIENTS = {
    "comfy_api_simplified_driver.py": (["comfy-api-simplified==1.6.0"], ["--speed", "2"]),
    "comfyui_workflow_client_driver.py": (["comfyui-workflow-client==0.1.0"], ["--speed", "4"]),
    "comfy_script_driver.py": (["comfy-script[client]==0.6.1", "tqdm==4.67.1"], ["--preview-method", "auto"]),
    "comfy_cli_driver.py": (["comfy-cli==1.23.0"], ["--speed", "4"]),
}


@pytest.mark.parametrize("driver", CLIENTS)
def test_a_client(driver: str, serve: Callable[..., str], drive_python: Callable[..., Any]) -> None:
    packages, switches = CLIENTS[driver]
    drive_python(driver, serve(*switches), packages).check()

"""JavaScript clients from npm against the fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.interop

PREVIEWS = ("--preview-method", "latent2rgb")


def test_stable_canvas_comfyui_client_runs_its_whole_surface(
    serve: Callable[..., str], drive_node: Callable[..., Any]
) -> None:
    url = serve(*PREVIEWS, "--speed", "2", "--accept-any-node", "--accept-any-model")
    report = drive_node("stable_canvas.mjs", url, ["@stable-canvas/comfyui-client@1.5.9", "ws@8.23.0"])
    report.check()
    assert len(report.facts["declared"]) > 90
    assert report.facts["missed"] == []


def test_saintno_comfyui_sdk(serve: Callable[..., str], drive_node: Callable[..., Any]) -> None:
    drive_node("saintno.mjs", serve(*PREVIEWS), ["@saintno/comfyui-sdk@0.3.1"]).check()


def test_comfy_ui_client(serve: Callable[..., str], drive_node: Callable[..., Any]) -> None:
    drive_node("comfy_ui_client.mjs", serve(*PREVIEWS), ["comfy-ui-client@0.1.2"]).check()

"""Media types by file name (protocol 2.4)."""

from __future__ import annotations

import pytest

from comfy_mock.engine.content_types import content_type_of, is_dangerous


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.png", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.JPEG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.gif", "image/gif"),
        ("a.svg", "image/svg+xml"),
        ("a.mp4", "video/mp4"),
        ("a.webm", "video/webm"),
        ("a.mkv", "video/x-matroska"),
        ("a.flac", "audio/flac"),
        ("a.mp3", "audio/mpeg"),
        ("a.opus", "audio/ogg"),
        ("a.json", "application/json"),
        ("a.txt", "text/plain"),
        ("a.md", "text/markdown"),
        ("a.csv", "text/csv"),
        ("a.glb", "model/gltf-binary"),
        ("a.safetensors", "application/safetensors"),
        ("a.exr", "image/aces"),
        ("a.latent", "application/octet-stream"),
        ("a.js", "application/javascript"),
        ("a.sh", "text/x-sh"),
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.jfif", "image/jpeg"),
        ("noext", "application/octet-stream"),
        (".png", "application/octet-stream"),
        ("a.tar.gz", "application/x-tar"),
        ("a.svgz", "image/svg+xml"),
        ("a.gz", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_name_says_the_type(name: str, content_type: str) -> None:
    assert content_type_of(name) == content_type


@pytest.mark.parametrize(
    "name", ["a.html", "a.htm", "a.xhtml", "a.js", "a.css", "a.xml", "a.svg", "a.mht", "a.rdf", "a.dae"]
)
def test_what_a_browser_might_run_is_dangerous(name: str) -> None:
    assert is_dangerous(content_type_of(name))


@pytest.mark.parametrize("name", ["a.png", "a.json", "a.txt", "a.mp4", "a.glb", "a.gltf", "a.docx", "noext"])
def test_what_no_browser_runs_is_not(name: str) -> None:
    assert not is_dangerous(content_type_of(name))

"""What is in the wheel and in the sdist, and what an import costs."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"comfy_mock": ROOT, "comfy_client": ROOT / "client", "comfy_contracts": ROOT / "contracts"}


def build(source: Path, target: Path, *kinds: str) -> list[Path]:
    """Build `kinds` of distribution from `source` into `target`."""
    types = [word for kind in kinds for word in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *types]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return sorted(target.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    (path,) = build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")
    return zipfile.ZipFile(path)


def sources() -> set[str]:
    """The files of the three packages, as they are called once installed."""
    return {
        path.relative_to(parent).as_posix()
        for name, parent in PACKAGES.items()
        for path in (parent / name).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def in_wheel(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert in_wheel(wheel) == sources()


@pytest.mark.parametrize(
    "name",
    [
        "comfy_mock/py.typed",
        "comfy_client/py.typed",
        "comfy_contracts/py.typed",
        "comfy_contracts/data/object_info-0.33.0.json.gz",
        "comfy_mock/data/default_workflow.json",
    ],
)
def test_the_wheel_holds(wheel: zipfile.ZipFile, name: str) -> None:
    assert name in wheel.namelist()


def test_the_wheel_has_its_licence_and_command(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert b"Apache License" in wheel.read(f"{info}/licenses/LICENSE")
    assert b"comfy-mock = comfy_mock.cli:main" in wheel.read(f"{info}/entry_points.txt")
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert (ROOT / "README.md").read_text(encoding="utf-8") in metadata


def test_a_wheel_from_the_sdist_is_the_same(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    (path,) = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(path) as sdist:
        names = sdist.getnames()
        for member in sdist:
            assert not Path(member.name).is_absolute()
            assert ".." not in Path(member.name).parts
        sdist.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    for needed in ("tests/conftest.py", "tox.ini", "README.md", "LICENSE", "CHANGELOG.md"):
        assert f"{source.name}/{needed}" in names
    (again,) = build(source, tmp_path / "again", "wheel")
    with zipfile.ZipFile(again) as second:
        assert in_wheel(second) == in_wheel(wheel)


SERVER_PARTS = {"av", "PIL", "starlette", "typer", "uvicorn"}
CLIENT_PARTS = {"asyncio", "httpx", "msgspec", "rich", "websockets"}
"""What a client is made of; httpx looks for rich by itself."""


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_an_import_loads_nothing_heavy(package: str) -> None:
    script = f"import json, sys; import {package}; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout))
    heavy = SERVER_PARTS if package == "comfy_client" else SERVER_PARTS | CLIENT_PARTS
    assert loaded & heavy == set()
    assert package in loaded


def test_everything_exported_can_be_had() -> None:
    import comfy_mock

    for name in comfy_mock.__all__:
        assert getattr(comfy_mock, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'ComfyMuck'"):
        _ = comfy_mock.ComfyMuck

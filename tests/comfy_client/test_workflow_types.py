"""What type checkers know of the node classes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from comfy_client import _stubs
from comfy_contracts.catalogue import Catalogue

USER = """
from comfy_client.workflow import Node, Output, Workflow

nodes = Workflow().nodes
model, clip, vae = nodes.CheckpointLoaderSimple(ckpt_name="x")
latent = nodes.EmptyLatentImage(width=512, height=512)
sampler: Node = nodes.KSampler({"seed": 1}, model=model, cfg=7, positive=clip, latent_image=latent, steps=["9", 0])
output: Output = sampler.LATENT
nodes.BatchImagesNode(images=[output, sampler])
nodes.SaveVideo({"format.codec": "h264"}, video=output, format="mp4")
nodes.SaveVideo(video=output, format={"format": "mp4", "codec": "auto"})
nodes.SomeoneElses(strength=1)
nodes["Video Slice"](video=output)
nodes.KSampler(modl=model)  # line 14
nodes.KSampler(model=3.5)  # line 15
nodes.SomeoneElses(strength=object())  # line 16
"""


def test_the_stub_is_that_of_the_packaged_catalogue() -> None:
    assert _stubs.PATH.read_text("utf-8") == _stubs.stub(Catalogue.packaged()), "run python -m comfy_client._stubs"


def test_every_class_with_a_python_name_is_a_method_with_all_its_inputs() -> None:
    catalogue = Catalogue.packaged()
    (core_nodes,) = (node for node in ast.parse(_stubs.PATH.read_text("utf-8")).body if isinstance(node, ast.ClassDef))
    methods = {node.name: node for node in core_nodes.body if isinstance(node, ast.FunctionDef)}
    assert set(methods) == {name for name in catalogue if name.isidentifier()}
    for name, method in methods.items():
        named = {argument.arg for argument in method.args.kwonlyargs}
        inputs = {*catalogue[name].required, *catalogue[name].optional}
        assert named == {each for each in inputs if each.isidentifier()}
        assert method.args.kwarg is not None or named == inputs


@pytest.mark.slow
def test_a_strict_user_is_told_of_wrong_inputs_and_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pytest.importorskip("mypy.api")
    monkeypatch.chdir(tmp_path)
    Path("user.py").write_text(USER)
    said, _, status = api.run(["--strict", "--config-file=", "--no-error-summary", "user.py"])
    errors = [line.split(":")[1] for line in said.splitlines() if ": error:" in line]
    assert (errors, status) == (["14", "15", "16"], 1), said

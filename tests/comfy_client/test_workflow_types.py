"""What type checkers know of the node classes."""

from __future__ import annotations

import ast

from comfy_client import _stubs
from comfy_contracts.catalogue import Catalogue


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

from __future__ import annotations

import json

import pytest
from msgspec import UNSET, UnsetType, field

from comfy_contracts import jsontext
from comfy_contracts.structs import Lossless, ShapeError, read_map


class Leaf(Lossless, frozen=True):
    size: int | float


class Tree(Lossless, frozen=True):
    name: str
    leaves: list[Leaf] = field(default_factory=list)
    by_id: dict[str, Leaf] | UnsetType = field(default=UNSET, name="byId")
    best: Leaf | None = None


VALUE = {
    "name": "oak",
    "leaves": [{"size": 1, "a": 0}, {"size": 1.0}],
    "byId": {"x": {"size": 2, "extra": None}},
    "best": {"size": 3},
    "extra": {"size": 4},
}


def test_structs_inside_are_typed_and_nothing_is_lost() -> None:
    tree = Tree.from_builtins(VALUE)

    assert tree.leaves == [Leaf(1, extra={"a": 0}), Leaf(1.0)]
    assert tree.by_id == {"x": Leaf(2, extra={"extra": None})}
    assert tree.best == Leaf(3)
    assert tree.extra == {"extra": {"size": 4}}
    assert json.dumps(tree.to_builtins()) == json.dumps(VALUE)


def test_a_struct_inside_builtins_is_written_by_jsontext() -> None:
    assert jsontext.dumps({"trees": [Tree.from_builtins(VALUE)]}) == json.dumps({"trees": [VALUE]})


def test_the_value_read_is_left_as_it_was() -> None:
    value = json.loads(json.dumps(VALUE))

    Tree.from_builtins(value)

    assert value == VALUE


def test_absent_fields_have_their_defaults_and_unset_is_not_written() -> None:
    tree = Tree.from_builtins({"name": "oak"})

    assert (tree.leaves, tree.by_id, tree.best) == ([], UNSET, None)
    assert tree.to_builtins() == {"name": "oak", "leaves": [], "best": None}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "Tree must be a JSON object, not list"),
        ({"leaves": []}, "Tree does not fit: .*name"),
        ({"name": 1}, "Tree does not fit: .*name"),
        ({"name": "oak", "leaves": [{"size": 1}, {"size": True}]}, r"in `leaves\[1\]`: Leaf does not fit"),
        ({"name": "oak", "leaves": [5]}, r"in `leaves\[0\]`: Leaf must be a JSON object, not int"),
        ({"name": "oak", "leaves": {}}, "Tree does not fit: .*leaves"),
        ({"name": "oak", "byId": {"a b": {}}}, "in `byId.a b`: Leaf does not fit"),
        ({"name": "oak", "byId": None}, "Tree does not fit|byId"),
        ({"name": "oak", "best": []}, "in `best`: Leaf must be"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(value: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Tree.from_builtins(value)


def test_a_text_is_read_and_what_is_not_json_refused() -> None:
    assert Leaf.from_json('{"size": 1}') == Leaf(1)
    assert Leaf.from_json(b'{"size": 1}') == Leaf(1)
    with pytest.raises(ShapeError, match="Leaf is not JSON"):
        Leaf.from_json("{")


def test_an_object_of_ids_is_read() -> None:
    assert read_map(Leaf, {"a": {"size": 1}}, "leaves") == {"a": Leaf(1)}
    with pytest.raises(ShapeError, match="in `a`: Leaf does not fit"):
        read_map(Leaf, {"a": {}}, "leaves")
    with pytest.raises(ShapeError, match="leaves must be a JSON object, not list"):
        read_map(Leaf, [], "leaves")


def test_a_field_of_several_structs_is_a_mistake_of_the_class() -> None:
    class Odd(Lossless, frozen=True):
        either: Leaf | Tree | None

    with pytest.raises(TypeError, match="one kind of struct"):
        Odd.from_builtins({})

"""Structs for wire objects that lose nothing: a field that nobody typed is kept, and written back.

ComfyUI grows fields between versions and custom nodes add their own, so each struct has `extra`: what its object holds
beyond the typed fields.
"""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

import msgspec

LosslessT = TypeVar("LosslessT", bound="Lossless")
_Convert = Callable[[Any], Any]


class ShapeError(ValueError):
    """A JSON value is not what the protocol says it is. `where` is its place in the value read, such as `jobs[3]`."""

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(f"in `{where}`: {problem}" if where else problem)
        self.problem = problem
        self.where = where

    def within(self, place: str) -> ShapeError:
        """The same error as told by the value around, in which the faulty one stands at `place`."""
        joint = "." if self.where and not self.where.startswith("[") else ""
        return ShapeError(self.problem, f"{place}{joint}{self.where}")


class Lossless(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A JSON object as a struct. Fields that may be absent have the default `UNSET`, which is never written.

    `extra` holds the fields of the object that the struct does not know.
    """

    bookkeeping: ClassVar[frozenset[str]] = frozenset({"extra"})
    """The fields of the struct that are not fields of the object."""

    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    @classmethod
    def from_builtins(cls: type[LosslessT], value: Any) -> LosslessT:
        """The struct of a value that `json.loads` gave. Raises `ShapeError` where a typed field does not fit."""
        if not isinstance(value, dict):
            raise ShapeError(f"{cls.__name__} must be a JSON object, not {type(value).__name__}")
        plan = _plan(cls)
        if value.keys() <= plan.names.keys():
            known = value.copy() if plan.readers else value
            extra = None
        else:
            known = {key: item for key, item in value.items() if key in plan.names}
            extra = {key: item for key, item in value.items() if key not in plan.names}
        for key, read in plan.readers.items():
            if key in known:
                known[key] = _read_at(key, read, known[key])
        try:
            struct = msgspec.convert(known, cls)
        except msgspec.ValidationError as error:
            raise ShapeError(f"{cls.__name__} does not fit: {error}") from error
        return msgspec.structs.replace(struct, extra=extra) if extra else struct

    @classmethod
    def from_json(cls: type[LosslessT], text: str | bytes) -> LosslessT:
        """The struct of a JSON text. Raises `ShapeError` where it is not JSON or a typed field does not fit."""
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ShapeError(f"{cls.__name__} is not JSON: {error}") from error
        return cls.from_builtins(value)

    def to_builtins(self) -> Any:
        """The JSON value: typed fields in the order of the protocol, then `extra`."""
        plan = _plan(type(self))
        value: dict[str, Any] = {}
        for key, name in plan.names.items():
            item = getattr(self, name)
            if item is not msgspec.UNSET:
                write = plan.writers.get(key)
                value[key] = item if write is None else write(item)
        if self.extra:
            value.update(self.extra)
        return value


def read_map(cls: type[LosslessT], value: Any, what: str) -> dict[str, LosslessT]:
    """The structs of a JSON object whose keys are ids. Raises `ShapeError`, which calls the object `what`."""
    if not isinstance(value, dict):
        raise ShapeError(f"{what} must be a JSON object, not {type(value).__name__}")
    return {key: _read_at(key, cls.from_builtins, item) for key, item in value.items()}


class _Plan(msgspec.Struct, frozen=True):
    """How a class is read and written: wire name to attribute, and the converters of fields that hold other structs."""

    names: dict[str, str]
    readers: dict[str, _Convert]
    writers: dict[str, _Convert]


@functools.cache
def _plan(cls: type[Lossless]) -> _Plan:
    own = [info for info in msgspec.structs.fields(cls) if info.name not in cls.bookkeeping]
    readers = {info.encode_name: _converter(info.type, _reader_of) for info in own}
    writers = {info.encode_name: _converter(info.type, _writer_of) for info in own}
    return _Plan(
        {info.encode_name: info.name for info in own},
        {name: read for name, read in readers.items() if read is not None},
        {name: write for name, write in writers.items() if write is not None},
    )


def _reader_of(cls: type[Lossless]) -> _Convert:
    return cls.from_builtins


def _writer_of(cls: type[Lossless]) -> _Convert:
    return cls.to_builtins


def _converter(hint: Any, of: Callable[[type[Lossless]], _Convert]) -> _Convert | None:
    """The function that converts the structs inside a value of type `hint`; None where there are none."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is None:
        return of(hint) if isinstance(hint, type) and issubclass(hint, Lossless) else None
    if origin is list or origin is dict:
        inner = _converter(args[-1], of)
        return None if inner is None else functools.partial(_each, origin, inner)
    if origin is Union or origin is types.UnionType:
        found = [convert for convert in (_converter(arg, of) for arg in args) if convert is not None]
        if len(found) > 1:
            raise TypeError(f"a field may hold one kind of struct, not several: {hint}")
        return functools.partial(_unless_none, found[0]) if found else None
    return None


def _each(container: type, convert: _Convert, value: Any) -> Any:
    if container is list and isinstance(value, list):
        return [_read_at(f"[{index}]", convert, item) for index, item in enumerate(value)]
    if container is dict and isinstance(value, dict):
        return {key: _read_at(key, convert, item) for key, item in value.items()}
    return value


def _unless_none(convert: _Convert, value: Any) -> Any:
    return None if value is None else convert(value)


def _read_at(place: str, convert: _Convert, value: Any) -> Any:
    try:
        return convert(value)
    except ShapeError as error:
        raise error.within(place) from error

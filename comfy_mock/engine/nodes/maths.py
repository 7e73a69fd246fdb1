"""ComfyMathExpression: arithmetic with named values, by an evaluator that can do nothing else."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from comfy_mock.engine.nodes.api import Call, NodeError, Output, node

_POWER_MAX = 4_000_000
_BITS_MAX = 1_000_000
_VALUES = "values"

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda values: sum(values),
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "pow": lambda base, exponent: _power(base, exponent),
    "sqrt": math.sqrt,
    "ceil": math.ceil,
    "floor": math.floor,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "int": int,
    "float": float,
}


@node("ComfyMathExpression", seconds=0.0005)
def comfy_math_expression(call: Call) -> Output:
    """The value of an expression as float, integer and truth value.

    Raises what Python's arithmetic raises, `SyntaxError` for a broken expression, `ValueError` for a result that is no
    finite number, and `NodeError` with the evaluator's own types for names, functions and operations it does not know.
    """
    expression = call.inputs["expression"]
    prefix = f"{_VALUES}."
    named = {name.removeprefix(prefix): value for name, value in call.inputs.items() if name.startswith(prefix)}
    result = evaluate(expression, {**named, _VALUES: list(named.values())})
    if not isinstance(result, (bool, int, float)):
        kind = type(result).__name__
        message = f"Math Expression '{expression}' must evaluate to a numeric result, got {kind}: {result!r}"
        raise ValueError(message)  # noqa: TRY004 (the real node raises this type)
    if not math.isfinite(result):
        raise ValueError(f"Math Expression '{expression}' produced a non-finite result: {result}")
    return Output((float(result), int(result), bool(result)))


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """The value of an arithmetic expression. Raises as ComfyMathExpression does."""
    text = expression.strip()
    if not text:
        raise NodeError("simpleeval.InvalidExpression", "Sorry, cannot evaluate empty string")
    tree = ast.parse(text, mode="eval")
    return _Evaluator(text, names).value(tree.body)


def _power(base: Any, exponent: Any) -> Any:
    bits = math.log2(abs(base)) * abs(exponent) if isinstance(base, int) and base and isinstance(exponent, int) else 0
    if max(abs(base), abs(exponent)) > _POWER_MAX or bits > _BITS_MAX:
        raise NodeError("simpleeval.NumberTooHigh", f"Sorry! I don't want to evaluate {base} ** {exponent}")
    return base**exponent


class _Evaluator:
    def __init__(self, expression: str, names: Mapping[str, Any]) -> None:
        self._expression, self._names = expression, names

    def value(self, part: ast.expr) -> Any:
        """The value of a part of the expression."""
        if isinstance(part, ast.Constant):
            return part.value
        if isinstance(part, ast.Name):
            return self._name(part.id)
        if isinstance(part, ast.BoolOp):
            return self._junction(part)
        if isinstance(part, ast.Compare):
            return self._comparison(part)
        if isinstance(part, ast.IfExp):
            return self.value(part.body if self.value(part.test) else part.orelse)
        if isinstance(part, ast.BinOp):
            return self._binary(part)
        if isinstance(part, ast.UnaryOp) and type(part.op) in _UNARY:
            return _UNARY[type(part.op)](self.value(part.operand))
        if isinstance(part, ast.Call):
            return self._call(part)
        raise self._unknown(part)

    def _name(self, name: str) -> Any:
        if name in self._names:
            return self._names[name]
        raise NodeError("simpleeval.NameNotDefined", f"'{name}' is not defined for expression '{self._expression}'")

    def _junction(self, part: ast.BoolOp) -> Any:
        stops = isinstance(part.op, ast.Or)
        value = None
        for operand in part.values:
            value = self.value(operand)
            if bool(value) is stops:
                break
        return value

    def _comparison(self, part: ast.Compare) -> bool:
        left = self.value(part.left)
        for comparison, operand in zip(part.ops, part.comparators, strict=True):
            if type(comparison) not in _COMPARED:
                raise self._unknown(comparison)
            right = self.value(operand)
            if not _COMPARED[type(comparison)](left, right):
                return False
            left = right
        return True

    def _binary(self, part: ast.BinOp) -> Any:
        if isinstance(part.op, ast.Pow):
            return _power(self.value(part.left), self.value(part.right))
        if type(part.op) not in _BINARY:
            raise self._unknown(part.op)
        left, right = self.value(part.left), self.value(part.right)
        # a text times a number could fill the memory
        if not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
            kinds = f"'{type(left).__name__}' and '{type(right).__name__}'"
            raise TypeError(f"unsupported operand types in an arithmetic expression: {kinds}")
        return _BINARY[type(part.op)](left, right)

    def _call(self, part: ast.Call) -> Any:
        name = part.func.id if isinstance(part.func, ast.Name) else ""
        if name not in _FUNCTIONS:
            message = f"Function '{name}' not defined, for expression '{self._expression}'."
            raise NodeError("simpleeval.FunctionNotDefined", message)
        return _FUNCTIONS[name](*map(self.value, part.args))

    def _unknown(self, part: ast.AST) -> NodeError:
        return NodeError(
            "simpleeval.FeatureNotAvailable", f"Sorry, {type(part).__name__} is not available in this evaluator"
        )

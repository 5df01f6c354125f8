"""Conditions on rendered scenes, such as `visible(car) >= 1 and pixels(car) < 2000`.

    numbers           visible(car)  objects of the class with visible pixels; visible(): of any class
                      present(car)  objects of the class in the scene, hidden ones included
                      pixels(car)   visible pixels of the class
                      share(car)    the same as a fraction of the image
    between them      + - * /
    comparisons       < <= > >= == !=, also in chains: 1 <= visible(car) <= 3
    between these     and, or, not, brackets

A class whose name is not a word is written in quotes: visible('traffic light').
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.datasets.writers.sample import Instance, Sample
from trainer.errors import InputError

_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
#: What each function counts: objects of its class, or pixels of the image.
_FUNCTIONS: Mapping[str, Callable[[list[Instance], int], float]] = {
    "visible": lambda items, _: sum(item.visible is not None for item in items),
    "present": lambda items, _: len(items),
    "pixels": lambda items, _: sum(item.visible_px for item in items),
    "share": lambda items, pixels: sum(item.visible_px for item in items) / pixels,
}
_LONGEST = 1000


@dataclass(frozen=True)
class SceneFilter:
    """A condition on rendered scenes."""

    text: str
    _tree: ast.expr

    @classmethod
    def parse(cls, text: str, classes: tuple[str, ...]) -> "SceneFilter":
        """Parse a condition. It is never executed as Python.

        Raises:
            InputError: the text is no such condition, or names a class that the grammar does not have.
        """
        try:
            if len(text) > _LONGEST:
                raise ValueError(f"it is longer than {_LONGEST} characters")
            tree = ast.parse(text.strip(), mode="eval").body
            _check(tree, classes)
            if not isinstance(tree, ast.Compare | ast.BoolOp) and not _is_not(tree):
                raise ValueError("it must compare something, as in visible(car) >= 1")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error) or "it is nested too deep"
            raise InputError(f"condition {text[:200]!r}: {reason}") from None
        return cls(text.strip(), tree)

    def __call__(self, sample: Sample) -> bool:
        """Return whether a sample with boxes meets the condition; False on division by zero."""
        try:
            return bool(_value(self._tree, sample))
        except ZeroDivisionError:
            return False


def _is_not(tree: ast.AST) -> bool:
    return isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)


def _check(tree: ast.AST, classes: tuple[str, ...]) -> None:
    """
    Raises:
        ValueError: the tree holds something that the module's docstring does not list.
    """
    match tree:
        case ast.BoolOp(values=values):
            parts: list[ast.AST] = list(values)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            parts = [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            parts = [left, right]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _OPERATORS for op in ops):
            parts = [left, *others]
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            parts = []
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS and len(args) <= 1:
            of = _class_of(args)
            if of is not None and of not in classes:
                raise ValueError(f"there is no class {of!r}; the grammar has: {', '.join(classes) or 'none'}")
            parts = []
        case _:
            raise ValueError(
                f"{ast.unparse(tree)[:60]!r} is not allowed; numbers are visible(car), present(car), pixels(car), "
                "share(car) and constants"
            )
    for part in parts:
        _check(part, classes)


def _class_of(args: list[ast.expr]) -> str | None:
    if not args:
        return None
    match args[0]:
        case ast.Name(id=name) | ast.Constant(value=str() as name):
            return name
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return str(number)
    raise ValueError(f"{ast.unparse(args[0])[:60]!r} is not the name of a class")


def _value(tree: ast.expr, sample: Sample) -> Any:
    match tree:
        case ast.Constant(value=value):
            return value
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(each, sample) for each in values)
        case ast.BoolOp(values=values):
            return any(_value(each, sample) for each in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, sample)
        case ast.UnaryOp(operand=operand):
            return -_value(operand, sample)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, sample), _value(right, sample))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(each, sample) for each in (left, *others)]
            return all(_OPERATORS[type(op)](a, b) for op, a, b in zip(ops, values[:-1], values[1:], strict=True))
        case ast.Call(func=ast.Name(id=name), args=args):
            of = _class_of(args)
            items = [item for item in sample.instances if of is None or item.class_name == of]
            return _FUNCTIONS[name](items, sample.size[0] * sample.size[1])
    raise ValueError(ast.unparse(tree))

"""The rules of derivatives: each gradient column of ops.h, parsed once. Changes with what a column may say."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from microgradc.program.c_text import ROWS, macro_number, wide_column

__all__ = ["Step", "rule", "wide_rule"]

Step = str | float | tuple[str, int]
"""Of a rule in postfix: one of x, y, z, v, f and g; a number; an operation and how many operands it takes."""

_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.USub: "neg",
}  # fmt: skip


@cache
def rule(op: str, column: str) -> tuple[Step, ...]:
    """Return a column of a row as steps in postfix; none where it is the gradient 0.

    Args:
        op: the name of the operation in graphs.
        column: 'gx', 'gy' or 'gz'.

    Raises:
        NotImplementedError: something in the column is not an operation.

    >>> rule("tanh", "gx")
    ('g', 1.0, 'f', 'f', ('mul', 2), ('sub', 2), ('mul', 2))
    """
    return _parsed(getattr(ROWS[op], column), op)


@cache
def wide_rule(op: str) -> tuple[Step, ...]:
    """Return what a value v receives from an operation of wide.h, as steps in postfix over v, f and g.

    Raises:
        NotImplementedError: something in the column is not an operation.

    >>> wide_rule("sum")
    ('g',)
    """
    return _parsed(wide_column(op), op)


def _parsed(text: str, op: str) -> tuple[Step, ...]:
    if text == "0":
        return ()
    try:
        return tuple(_postfix(ast.parse(text, mode="eval").body, op))
    except SyntaxError:
        raise NotImplementedError(f"the derivative of {op} has no derivative of its own: {text} is C alone") from None


def _postfix(node: ast.AST, op: str) -> Iterator[Step]:
    match node:
        case ast.Constant(value=int() | float() as number):
            yield float(number)
            return
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            yield -float(number)
            return
        case ast.Name(id=("x" | "y" | "z" | "v" | "f" | "g") as name):
            yield name
            return
        case ast.Name(id=name) if (macro := macro_number(name)) is not None:
            yield macro
            return
        case ast.BinOp(left=left, right=right) if type(node.op) in _OPERATORS:
            called, operands = _OPERATORS[type(node.op)], [left, right]
        case ast.UnaryOp(operand=operand) if type(node.op) in _OPERATORS:
            called, operands = _OPERATORS[type(node.op)], [operand]
        case ast.Call(func=ast.Name(id=called), args=operands) if called in ROWS:
            pass
        case _:
            raise NotImplementedError(
                f"the derivative of {op} has no derivative of its own: {ast.unparse(node)} is not an operation"
            )
    for operand in operands:
        yield from _postfix(operand, op)
    yield called, len(operands)

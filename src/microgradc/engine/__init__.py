"""The engine: `Value`, the sort, the backward pass, and the table of operations; in `functions`, the operations as
functions."""

from microgradc.engine.value import (
    TABLE,
    CompileError,
    EnableGrad,
    Input,
    IntegerInput,
    Row,
    Trace,
    Value,
    _restore,  # noqa: F401 -- what pickles call
    function,
    is_tracing,
    no_grad,
    refuse,
    topological_sort,
)

__all__ = [
    "TABLE",
    "CompileError",
    "EnableGrad",
    "Input",
    "IntegerInput",
    "Row",
    "Trace",
    "Value",
    "function",
    "is_tracing",
    "no_grad",
    "refuse",
    "topological_sort",
]

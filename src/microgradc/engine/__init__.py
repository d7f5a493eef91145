"""The engine: `Value`, the sort, the backward pass, and the table of operations; in `functions`, the operations as
functions."""

from microgradc.engine.value import (
    TABLE,
    AnomalyError,
    CompileError,
    EnableGrad,
    Input,
    IntegerInput,
    Row,
    Trace,
    Value,
    _restore,  # noqa: F401 -- what pickles call
    detect_anomaly,
    function,
    is_tracing,
    no_grad,
    refuse,
    topological_sort,
)

__all__ = [
    "TABLE",
    "AnomalyError",
    "CompileError",
    "EnableGrad",
    "Input",
    "IntegerInput",
    "Row",
    "Trace",
    "Value",
    "detect_anomaly",
    "function",
    "is_tracing",
    "no_grad",
    "refuse",
    "topological_sort",
]

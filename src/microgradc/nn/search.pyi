"""What `nn` leaves to C: running a layer's neurons, and finding the parameters and modules in a module's attributes."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from microgradc.engine import Value

_Module = TypeVar("_Module")

def neuron_outputs(x: Iterable[Any], rows: list[Any], biases: list[Any], operations: bytes | None) -> list[Value]: ...
def versions_of(dicts: list[dict[str, Any]]) -> bytes: ...
def is_current(
    before: list[Any], now: list[Any], watched: list[tuple[dict[str, Any], tuple[Any, ...]]], versions: bytes
) -> bool: ...
def find_modules(module: _Module, kind: type[_Module]) -> list[_Module]: ...
def find_parameters(
    module: object, all_parameters: Callable[..., Any], with_names: bool
) -> tuple[list[Value], list[str] | None]: ...

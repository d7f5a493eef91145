"""What `nn` leaves to C: running a layer's neurons, and finding the parameters in a module's attributes."""

from collections.abc import Callable, Iterable
from typing import Any

from microgradc.engine import Value

def neuron_outputs(x: Iterable[Any], rows: list[Any], biases: list[Any], operations: bytes | None) -> list[Value]: ...
def find_parameters(module: object, all_parameters: Callable[..., Any], with_names: bool) -> tuple[list[Value], list[str] | None]: ...

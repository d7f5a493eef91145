"""Colours of nodes by the size of their gradients."""

from math import inf, isfinite, log10

from microgradc.engine import Value

DECADES = 4.0        # from the largest gradient down to the palest shade
PALEST, DARKEST = (255, 247, 236), (240, 140, 40)      # of orange, on which dark text is read well
NONE, NOT_FINITE = "#ffffff", "#e78ac3"


def check_color(color: str | None) -> None:
    """Raise ValueError unless nodes can be coloured like that."""
    if color not in (None, "grad"):
        raise ValueError(f"color must be None or 'grad', the size of gradients, got {color!r:.40}")


def shades(boxes: list[list[Value]], color: str | None) -> list[str]:
    """Return for the nodes of each box its colour, by the size of the largest gradient next to the largest of all.

    White is 0; each shade of orange is a factor, over four decades; pink is inf or nan.
    """
    if color is None:
        return [NONE] * len(boxes)
    sizes = [max((abs(node.grad) for node in nodes), key=_finite_first) for nodes in boxes]
    largest = max(filter(isfinite, sizes), default=0.0)
    return [_shade(size, largest) for size in sizes]


def _finite_first(size: float) -> float:
    return size if isfinite(size) else inf


def _shade(size: float, largest: float) -> str:
    if not isfinite(size):
        return NOT_FINITE
    if size == 0:
        return NONE
    depth = max(0.0, 1 + (log10(size) - log10(largest)) / DECADES)
    return "#" + "".join(f"{round(a + (b - a) * depth):02x}" for a, b in zip(PALEST, DARKEST, strict=True))

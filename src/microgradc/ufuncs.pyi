"""NumPy's functions of arrays that hold Values and plain numbers, with the derivatives of the table."""

__all__ = ["install"]

def install() -> None:
    """Put the loops in their places, once for the process. Another call does nothing."""
    ...

# What has entries in places, however it calls them: arrays, tensors, columns and frames of a table. Data is taken by
# position, never by label. Included by value.pyx.

cdef bint is_table(object o) except -1:
    """Whether o is an array, or something that NumPy makes one of (or could, were it dense)."""
    return (hasattr(o, "__array__") or hasattr(o, "toarray")) and not isinstance(o, type)


def array_of(o, str name not None):
    """Return a NumPy array, a frame, a series, a tensor or the like as a NumPy array, its entries by position.

    It may share memory with o. Anything else, a list for one, gives None.

    Args:
        name: what it is called in errors.

    Raises:
        TypeError: it is a tensor that requires a gradient, which would be lost; or sparse.
        ValueError: it is a masked array with entries that are masked.
    """
    if not is_table(o):
        return None
    import numpy
    if isinstance(o, numpy.ndarray):
        if isinstance(o, numpy.ma.MaskedArray) and numpy.ma.is_masked(o):
            raise ValueError(f"{name} has masked entries, which have no number; fill them, {name}.filled(0.0), "
                             "or leave them out")
        return numpy.asarray(o)
    if not hasattr(o, "__array__"):
        raise TypeError(f"{name} must be dense, got {describe(o)}; {name}.toarray() is an array")
    if getattr(o, "requires_grad", False) is True:
        raise TypeError(f"{name} must be an array of real numbers: this tensor requires grad, and PyTorch's graph "
                        f"would be lost; pass {name}.detach()")
    try:
        return numpy.asarray(o)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be something that NumPy makes an array of, got {describe(o)}: {error}") from error

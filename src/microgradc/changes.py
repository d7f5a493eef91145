"""When something changed that a recorded function may have looked at: an attribute of a module, say.

Whoever keeps what was read from such things keeps `changes.latest` with it: as long as that is the same object, nothing
has changed. As long as `changes.lasting` is, nothing has but the mode of modules, training or evaluation.
"""

latest: object = object()
lasting: object = object()


def happened() -> None:
    """Say that something has changed."""
    global latest, lasting
    latest = lasting = object()


def switched() -> None:
    """Say that a module was switched between training and evaluation."""
    global latest
    latest = object()

"""When something changed that a recorded function may have looked at: an attribute of a module, say.

Whoever keeps what was read from such things keeps `changes.latest` with it: as long as that is the same object, nothing
has changed.
"""

latest = object()


def happened() -> None:
    """Say that something has changed."""
    global latest
    latest = object()

"""Progress bars: of tqdm's, on standard error in a terminal; a line of a cell's output in Jupyter."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

# Of a cell: as long as it has to be, where a terminal's would be cut off.
LINE = "{desc}{percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class CellBar(tqdm):
    """A bar that is one line of a cell's output, which is written anew: no red stream, no widgets."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(file=io.StringIO(), bar_format=LINE, ascii=False, **settings)

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """Return what shows a text in place of the one before."""
        from IPython.display import display

        handle: list[Any] = []

        def show(text: str) -> None:
            shown = {"text/plain": text}
            if handle:
                handle[0].update(shown, raw=True)
            else:
                handle.append(display(shown, raw=True, display_id=True))

        return show


def new_bar(total: int | None) -> Any:
    """Return a bar for so many epochs."""
    kind: Any = CellBar if is_in_jupyter() else tqdm
    return kind(total=total, unit="epoch")


def is_in_jupyter() -> bool:
    """Return whether cells show what is displayed: as `tqdm.auto` finds it out."""
    python = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return python is not None and "IPKernelApp" in python.config

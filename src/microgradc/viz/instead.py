"""What is drawn where Graphviz cannot draw: the picture of draw_graph, with a line that says why."""

import warnings
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from microgradc.cells import html, line, one_line
from microgradc.viz.collapse import Contents
from microgradc.viz.figures import import_matplotlib
from microgradc.viz.svg import SVG, only

PROGRAM_MISSING = "the program dot of Graphviz is not installed (graphviz.org/download)"
PACKAGE_MISSING = "the Python package graphviz is not installed (pip install graphviz)"


class Instead:
    """What draws the graph of a Value in place of Graphviz, with those of its methods that make pictures.

    Args:
        contents: what is drawn.
        colours: of the boxes.
        format: of the picture that `render` makes.
    """

    def __init__(self, contents: Contents, colours: list[str], format: str) -> None:
        self.format = format
        self._contents, self._colours = contents, colours

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, Any]:
        return self.bundle(PACKAGE_MISSING, include, exclude)

    def bundle(
        self, reason: str, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """Return what a notebook shows. The line is above the picture, or in it, so that it is seen in each form."""
        note = _note(reason)
        try:
            image, png = self.figure()._repr_html_(), self.figure(note)._repr_png_()
        except ImportError as error:
            return {"text/plain": one_line(f"{reason}, and {error}", 300)}
        page = None if image is None else line(html(note), []) + image
        bundle = {"text/plain": note, "text/html": page, "image/png": png}
        if SVG in (include or ()):
            bundle[SVG] = self._drawn("svg", note).decode()
        return only(bundle, include, exclude)

    def figure(self, note: str = "") -> Any:
        """Return the picture."""
        from microgradc.viz.boxes import draw_contents

        return draw_contents(self._contents, self._colours, note=note)

    def pipe(
        self,
        format: str | None = None,
        *_positional: Any,
        encoding: str | None = None,
        reason: str = PACKAGE_MISSING,
        **_: Any,
    ) -> Any:
        """Return the picture as bytes, or as text of an encoding."""
        data = self._saved(format or self.format, reason)
        return data if encoding is None else data.decode(encoding)

    def render(
        self,
        filename: Any = None,
        directory: Any = None,
        view: bool = False,
        cleanup: bool = False,
        format: str | None = None,
        *_positional: Any,
        outfile: Any = None,
        reason: str = PACKAGE_MISSING,
        **_: Any,
    ) -> str:
        """Write the picture to the file that Graphviz would write, and return its name."""
        format = format or ("" if outfile is None else Path(outfile).suffix[1:]) or self.format
        path = Path(directory or "", f"{filename or 'Digraph.gv'}.{format}") if outfile is None else Path(outfile)
        data = self._saved(format, reason)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    def _saved(self, format: str, reason: str) -> bytes:
        import_matplotlib()
        from matplotlib.backend_bases import FigureCanvasBase

        if format not in FigureCanvasBase.filetypes:
            raise RuntimeError(f"{reason}, and matplotlib does not write {format!r:.20}")
        data = self._drawn(format)
        warnings.warn(_note(reason), UserWarning, stacklevel=4)
        return data

    def _drawn(self, format: str, note: str = "") -> bytes:
        stream = BytesIO()
        self.figure(note).savefig(stream, format=format)
        return stream.getvalue()


def _note(reason: str) -> str:
    return one_line(f"drawn by draw_graph: {reason}", 110)

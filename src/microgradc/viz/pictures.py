"""Figures as notebooks show them. It imports matplotlib, and is imported when there is something to draw."""

from io import BytesIO
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from microgradc.viz.svg import as_image

LARGEST_PNG = 4000            # pixels, along either side


class Picture(Figure):
    """A figure that a notebook shows as SVG, as wide as the cell at most, and saves with a PNG for other programs.

    Nothing is registered, and no setting of matplotlib's or of the notebook's is changed. `savefig` is matplotlib's.
    """

    def _repr_html_(self) -> str | None:
        try:
            with rc_context({"svg.fonttype": "none", "svg.image_inline": True}):
                svg = self._saved("svg", metadata={"Date": None}).decode()
        except Exception:     # of what somebody else drew in the figure
            return None
        return as_image(svg)

    def _repr_png_(self) -> bytes | None:
        try:
            return self._saved("png", dpi=min(self.dpi, LARGEST_PNG / max(self.get_size_inches())))
        except Exception:
            return None

    def _saved(self, format: str, **settings: Any) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format=format, **settings)
        return stream.getvalue()

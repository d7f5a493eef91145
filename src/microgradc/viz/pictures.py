"""Figures as notebooks show them. It imports matplotlib, and is imported when there is something to draw."""

import re
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

LARGEST_SVG = 1_000_000       # bytes; there is a PNG alone of what is larger
LARGEST_PNG = 4000            # pixels, along either side


class Picture(Figure):
    """A figure that a notebook shows as SVG, as wide as the cell at most, and saves with a PNG.

    JupyterLab shows the PNG in notebooks that are not trusted. Nothing is registered, and no setting of matplotlib's or
    of the notebook's is changed. `savefig` is matplotlib's.
    """

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        try:
            bundle = {"image/svg+xml": self._repr_svg_(), "image/png": self._repr_png_()}
        except Exception:     # of what somebody else drew in the figure
            return {}
        return only(bundle, include, exclude)

    def _repr_svg_(self) -> str | None:
        with rc_context({"svg.fonttype": "none", "svg.image_inline": True}):
            text = tidy(self._saved("svg", metadata={"Date": None}).decode())
        return text if len(text) <= LARGEST_SVG else None

    def _repr_png_(self) -> bytes:
        return self._saved("png", dpi=min(self.dpi, LARGEST_PNG / max(self.get_size_inches())))

    def _saved(self, format: str, **settings: Any) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format=format, **settings)
        return stream.getvalue()


def only(bundle: dict[str, Any], include: Iterable[str] | None, exclude: Iterable[str] | None) -> dict[str, Any]:
    """Return what a notebook wants of the forms of a picture."""
    return {
        kind: data
        for kind, data in bundle.items()
        if data is not None and (not include or kind in include) and (not exclude or kind not in exclude)
    }


def tidy(svg: str) -> str:
    """Return a picture as an element of a page that is as wide as its place at most, without what nobody sees."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg)
    svg = re.sub(r'<g id="\w+_\d+">', "<g>", svg)       # nothing refers to them, and another picture has the same
    svg = re.sub(r"('[^']+')(?:, '?[\w ]+'?){3,}, sans-serif", r"\1, Verdana, sans-serif", svg)
    svg = re.sub(r"\n\s*(?=<|\n)", "\n", svg)
    return svg.replace("<svg ", '<svg style="max-width: 100%; height: auto" ', 1)

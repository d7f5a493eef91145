"""SVG in cells of notebooks."""

import re
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

SVG = "image/svg+xml"
LARGEST_SVG = 1_000_000       # bytes; a cell shows the PNG of what is larger
FITS = "max-width: 100%; height: auto"


def as_image(svg: str) -> str | None:
    """Return a picture as HTML; None if it is too large.

    JupyterLab lets a picture of the kind image/svg+xml run over the edge of the cell, and does not show it in notebooks
    that are not trusted. An image in HTML fits, and nothing in it can do harm.
    """
    data = tidy(svg).encode()
    if len(data) > LARGEST_SVG:
        return None
    return f'<img style="{FITS}" alt="" src="data:image/svg+xml;base64,{b64encode(data).decode()}">'


def only(bundle: dict[str, Any], include: Iterable[str] | None, exclude: Iterable[str] | None) -> dict[str, Any]:
    """Return what a notebook wants of the forms of a picture that there are."""
    return {
        kind: data
        for kind, data in bundle.items()
        if data is not None and (not include or kind in include) and (not exclude or kind not in exclude)
    }


def tidy(svg: str) -> str:
    """Return a picture without what nobody sees."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg)
    svg = re.sub(r'<g id="\w+_\d+">', "<g>", svg)       # nothing refers to them, and another picture has the same
    svg = re.sub(r"('[^']+')(?:, '?[\w ]+'?){3,}, sans-serif", r"\1, Verdana, sans-serif", svg)
    return re.sub(r"\n\s*(?=<|\n)", "\n", svg)

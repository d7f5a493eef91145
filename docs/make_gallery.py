"""Run the examples, and make the small pictures of the gallery: what they draw or, where they draw nothing, print.

    python docs/make_gallery.py [EXAMPLE ...]

Without names, all examples: it takes a few minutes. It needs `pip install '.[test]'` and SciPy.
"""

import base64
import io
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.figure import Figure
from PIL import Image

ROOT = Path(__file__).parents[1]
SIZE = 480, 300
# Arguments of each example, and the picture that it draws; or which lines of what it prints are shown.
EXAMPLES = {
    "autograd_basics.py": ([], re.compile("^(c =|dc/|#|├|│|└).*", re.M)),
    "cells.ipynb": ([], None),
    "digits.py": ([], "digits-results/history.png"),
    "expression_and_net.py": ([], "expression_and_net-pictures/expression.png"),
    "gpt.py": (["1000", "--compiled"], re.compile("^step +[0-9]+ +loss [0-9.]+|^made up.*", re.M)),
    "implied_volatility.py": ([], "implied_volatility-pictures/implied_volatility.png"),
    "many_rows.py": (["--rows", "2_000_000", "--workers", "2"], re.compile("estimate.*(?=, truth)|truth.*")),
    "moons.ipynb": ([], None),
    "pendulum.py": ([], "pendulum-pictures/pendulum.png"),
    "pinn.py": ([], "pinn-pictures/pinn.png"),
    "second_order.py": ([], "second_order-pictures/second_order.png"),
    "tanh_mlp_graph.py": ([], re.compile("^(step [1-4]0|.* gives).*", re.M)),
    "to_c.py": ([], re.compile(".+")),
    "training_loop.py": ([], "training_loop-pictures/decision-boundary.png"),
}


def picture_of(name, folder):
    """Return what an example shows, an image, after it was run in a folder."""
    arguments, shown = EXAMPLES[name]
    if name.endswith(".ipynb"):
        return last_picture(ROOT / "examples" / name, folder)
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    if isinstance(shown, str):
        return Image.open(folder / shown)
    return as_picture([match[0] for match in shown.finditer(run.stdout)])


def last_picture(notebook, folder):
    """Run a notebook, and return the last picture among its outputs."""
    import nbformat
    from nbclient import NotebookClient

    cells = nbformat.reads(json.dumps(json.loads(notebook.read_text(encoding="utf-8"))), as_version=4)
    NotebookClient(cells, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in cells.cells for output in cell.get("outputs", [])]
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return Image.open(io.BytesIO(base64.b64decode(pictures[-1])))


def as_picture(lines):
    """Return lines of text as an image."""
    figure = Figure(figsize=(2 * SIZE[0] / 100, 2 * SIZE[1] / 100), dpi=100, facecolor="#f7f7f8")
    lines = [part for line in lines for part in textwrap.wrap(line, 76, subsequent_indent="    ")]
    size = min(18, 1060 / max(map(len, lines)), 300 / len(lines))
    style = {"family": "monospace", "size": size, "va": "center", "color": "#24292f", "linespacing": 1.4}
    figure.text(0.04, 0.5, "\n".join(lines), **style)
    figure.savefig(png := io.BytesIO(), format="png")
    return Image.open(png)


def small(picture):
    """Return an image on a white sheet of the size of all, with few colours."""
    picture = picture.convert("RGBA")
    sheet = Image.new("RGBA", picture.size, "white")
    sheet.alpha_composite(picture)
    sheet.thumbnail(SIZE, Image.Resampling.LANCZOS)
    page = Image.new("RGB", SIZE, sheet.getpixel((0, 0))[:3])
    page.paste(sheet.convert("RGB"), ((SIZE[0] - sheet.width) // 2, (SIZE[1] - sheet.height) // 2))
    return page.quantize(64)


def main(names, to):
    for name in names or EXAMPLES:
        with TemporaryDirectory() as folder:
            small(picture_of(name, Path(folder))).save(to / f"{Path(name).stem}.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:], ROOT / "docs" / "images" / "gallery")

"""What draw_dot does without Graphviz's program, without its package, and where the program fails: it draws all the
same, and says on one line why it is another picture."""

import os
import re
import stat
import subprocess
import sys
import warnings

import pytest

pytest.importorskip("graphviz")

from microgradc import Value, viz
from microgradc.viz import dot as dot_module
from microgradc.viz import svg as svg_module


def example():
    x = Value(2.0, label="x")
    return (x * 3 + 1).tanh()


def program(folder, text):
    """Let a shell script be the program dot."""
    path = folder / "dot"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder in which programs are found."""
    found = tmp_path / "bin"
    found.mkdir()
    monkeypatch.setenv("PATH", str(found))
    return found


def check_instead(bundle, reason):
    assert bundle["text/plain"] == f"drawn by draw_graph: {reason}"
    assert re.match(r"<div>drawn by draw_graph: [^<]*</div><img ", bundle["text/html"])
    assert bundle["image/png"].startswith(b"\x89PNG")


MISSING = "the program dot of Graphviz is not installed (graphviz.org/download)"


def test_a_notebook_shows_draw_graphs_picture_and_why(folder):
    dot = viz.draw_dot(example())
    check_instead(dot._repr_mimebundle_(), MISSING)
    assert set(dot._repr_mimebundle_(include={"image/png"})) == {"image/png"}
    texts = [text.get_text() for text in dot.instead.figure("a note").axes[0].texts]
    assert "a note" in texts        # in the picture: whoever sees it, sees the note
    assert {"x", "tanh"} <= set(texts)
    assert dot.source.startswith("digraph")


def test_the_note_is_below_the_boxes_and_not_cut_off(folder):
    figure = viz.draw_dot(Value(1.0)).instead.figure("x" * 100)
    figure.draw_without_rendering()
    note = next(t for t in figure.axes[0].texts if t.get_text().startswith("xxx")).get_window_extent()
    boxes = [p.get_window_extent() for p in figure.axes[0].patches if p.get_label() == "_box"]
    assert not any(note.overlaps(box) for box in boxes)
    assert 0 <= note.x0 < note.x1 <= figure.bbox.x1
    assert note.y0 >= 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo 'Error: bad' >&2; echo more >&2; exit 3", "dot failed: Error: bad"),
        ("exit 3", "dot failed: exit code 3"),
        ("kill -SEGV $$", "dot was ended by SIGSEGV"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for dot")
def test_where_dot_fails(folder, text, reason):
    program(folder, text)
    check_instead(viz.draw_dot(example())._repr_mimebundle_(), reason)


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for dot")
def test_a_notebook_does_not_wait_for_ever(folder, monkeypatch):
    program(folder, "exec /bin/sleep 60")
    monkeypatch.setattr(dot_module, "PATIENCE", 0.2)
    check_instead(viz.draw_dot(example())._repr_mimebundle_(), "dot took longer than 0.2 seconds")


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for dot")
def test_what_dot_draws_is_shown(folder):
    program(folder, "/bin/cat > /dev/null; echo '<?xml?><svg width=\"1\"></svg>'")
    bundle = viz.draw_dot(example())._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png"}
    assert bundle["text/html"].startswith("<img ")


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for dot")
def test_where_dot_writes_no_png(folder):
    program(folder, """/bin/cat > /dev/null; test "$1" = -Tsvg || exit 1; echo '<?xml?><svg width=\"1\"></svg>'""")
    dot = viz.draw_dot(example())
    assert set(dot._repr_mimebundle_()) == {"text/html"}
    assert dot._repr_mimebundle_(include={"image/svg+xml"}) == {"image/svg+xml": '<?xml?><svg width="1"></svg>\n'}


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for dot")
def test_of_a_large_picture_without_png_the_svg_is_left(folder, monkeypatch):
    program(folder, "/bin/cat > /dev/null; test $1 = -Tsvg || exit 1; echo '<svg></svg>'")
    monkeypatch.setattr(svg_module, "LARGEST_SVG", 3)
    assert set(viz.draw_dot(example())._repr_mimebundle_()) == {"image/svg+xml"}


@pytest.mark.parametrize("written", ["echo nothing", "printf '\\377'"])
@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for dot")
def test_where_dot_writes_no_svg(folder, written):
    program(folder, f"/bin/cat > /dev/null; {written}")
    check_instead(viz.draw_dot(example())._repr_mimebundle_(), "dot failed: what it wrote is not SVG")


def test_svg_is_given_to_who_asks_for_it(folder):
    bundle = viz.draw_dot(example())._repr_mimebundle_(include={"image/svg+xml"})
    assert set(bundle) == {"image/svg+xml"}
    assert "<svg" in bundle["image/svg+xml"]


def test_copies_are_drawn_as_well(folder):
    with pytest.warns(UserWarning, match="drawn by draw_graph"):
        assert viz.draw_dot(example()).copy().pipe("png").startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_arguments_by_position(folder, tmp_path):
    dot = viz.draw_dot(example())
    for each in (dot, dot.instead):
        with pytest.warns(UserWarning, match="drawn by draw_graph"):
            assert each.pipe("svg", None).startswith(b"<?xml")
        with pytest.warns(UserWarning, match="drawn by draw_graph"):
            path = each.render(str(tmp_path / "g"), None, False, True)
        assert path == str(tmp_path / "g.svg")
        assert not (tmp_path / "g").exists()        # the source is cleaned up
    with pytest.raises(TypeError, match="nonsense"):
        dot.pipe("svg", nonsense=1)


def test_files_are_written_with_one_warning(folder, tmp_path):
    dot = viz.draw_dot(example(), format="png")
    with pytest.warns(UserWarning, match=MISSING.replace("(", r"\(").replace(")", r"\)")) as seen:
        path = dot.render(tmp_path / "graph", cleanup=True)
    assert [warning.filename for warning in seen] == [__file__]
    assert path == str(tmp_path / "graph.png")
    assert {p.name for p in tmp_path.iterdir()} == {"bin", "graph.png"}
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    with pytest.warns(UserWarning, match="drawn by draw_graph"):
        dot.render(outfile=tmp_path / "other.svg")
    assert (tmp_path / "other.svg").read_text().startswith("<?xml")
    assert (tmp_path / "other.gv").exists()
    with pytest.warns(UserWarning, match="drawn by draw_graph"):
        assert "<svg" in dot.pipe("svg", encoding="utf-8")


def test_what_matplotlib_does_not_write_is_an_error_of_one_line(folder, tmp_path):
    with pytest.raises(RuntimeError, match="matplotlib does not write 'json'") as caught:
        viz.draw_dot(example()).pipe("json")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None        # no traceback of others before it


HIDDEN = """
import sys, warnings
sys.modules["graphviz"] = None
warnings.simplefilter("error")
from microgradc import Value, draw_dot
x = Value(2.0)
dot = draw_dot(x * x)
bundle = dot._repr_mimebundle_()
print(bundle["text/plain"])
print(sorted(bundle))
warnings.simplefilter("ignore")
print(dot.render("picture"), dot.pipe("svg")[:5])
"""


def test_without_the_package(tmp_path):
    (tmp_path / "Digraph.gv").write_text("somebody's")
    result = subprocess.run([sys.executable, "-c", HIDDEN], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [
        "drawn by draw_graph: the Python package graphviz is not installed (pip install graphviz)",
        "['image/png', 'text/html', 'text/plain']",
        "picture.svg b'<?xml'",
    ]
    assert (tmp_path / "Digraph.gv").read_text() == "somebody's"


def test_without_matplotlib_either(folder, monkeypatch):
    dot = viz.draw_dot(example())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "microgradc.viz.pictures", raising=False)
    bundle = dot._repr_mimebundle_()
    assert set(bundle) == {"text/plain"}
    assert "graphviz.org/download), and " in bundle["text/plain"]
    assert "\n" not in bundle["text/plain"]


def test_a_repr_warns_of_nothing(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        viz.draw_dot(example())._repr_mimebundle_()

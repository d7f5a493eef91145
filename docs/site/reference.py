"""Which public name is on which page of the reference.

The lists of names are the package's own: `microgradc.__all__`, and `__all__` of its public modules. A new name comes by
itself to the page of the module that it is from; one that has no page is an error.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import microgradc

ROOT = Path(__file__).parents[2]

# Each page: its title; the modules whose names are on it, the first of which introduces it; and what is met as a
# result of these, and has no public name.
PAGES = {
    "value": ("Value", ["engine"], ["engine.value.RemovableHandle"]),
    "functions": ("Functions", ["engine.functions"], []),
    "arrays": ("Arrays", ["arrays"], []),
    "compile": (
        "Compiled functions",
        ["program.compile", "program.scan", "program.loaded", "program.partial"],
        ["program.compile.Compiled", "program.loaded.LoadedFunction"],
    ),
    "program": ("Program and Graph", ["program", "program.program"], ["program.graph.Graph"]),
    "derivatives": ("Derivatives", ["derivatives", "program.calculus"], ["program.calculus.NoGraphError"]),
    "nn": ("Networks", ["nn"], []),
    "init": ("Initial values", ["nn.init"], []),
    "losses": ("Losses", ["losses"], []),
    "optim": ("Optimizers", ["optim", "optim.lr_scheduler"], []),
    "train": ("Training", ["train", "train.fit", "train.callbacks", "train.scores", "train.data"], []),
    "sklearn": ("scikit-learn", ["sklearn"], []),
    "viz": ("Pictures", ["viz"], []),
    "checkpoint": ("Files", ["checkpoint"], []),
    "checking": ("Checking", ["checking"], []),
    "cli": ("In micrograd's place", ["cli.dropin"], []),
}
# Modules whose `__all__` is public, too.
PUBLIC = [
    *("engine", "program", "nn", "nn.init", "losses", "optim", "optim.lr_scheduler", "sklearn", "viz", "checkpoint"),
    "checking",
]
# What comes first on its page. The others keep the order of the lists; functions, that of the table of operations.
FIRST = [
    *("Value", "compile", "program.compile.Compiled", "fit", "History", "MLP", "Program", "program.graph.Graph"),
    *(row.name.lower() for row in microgradc.engine.TABLE),
]


def module(name):
    return import_module(f"microgradc.{name}")


def public_names():
    """Yield each public name and the module whose list it is in; those of the package itself come first."""
    for name, place in microgradc._PLACES.items():
        yield f"microgradc.{name}", place.removeprefix("microgradc.")
    for place in PUBLIC:
        for name in module(place).__all__:
            yield f"microgradc.{place}.{name}", place


def thing_at(path):
    """Return what a dotted name stands for."""
    above, _, name = path.rpartition(".")
    return getattr(import_module(above), name)


@cache
def contents():
    """Return for each page the names to describe on it. A thing that has several names is described by the first.

    Raises:
        LookupError: there are names that belong to no page.
    """
    page_of = {place: page for page, (_, places, _) in PAGES.items() for place in places}
    pages, described, lost = {page: [] for page in PAGES}, set(), []
    for name, place in public_names():
        thing = thing_at(name)
        if isinstance(thing, ModuleType) or id(thing) in described:
            continue    # a module is what introduces a page
        described.add(id(thing))
        if place in page_of:
            pages[page_of[place]].append(name)
        else:
            lost.append(f"{name}, which is from {place}")
    if lost:
        raise LookupError(f"docs/site/reference.py has no page for {'; '.join(lost)}")
    for page, (_, _, results) in PAGES.items():
        pages[page] += [f"microgradc.{name}" for name in results]
        pages[page].sort(key=lambda name: FIRST.index(name[11:]) if name[11:] in FIRST else len(FIRST))
    return pages


def page_text(page):
    """Return a page of the reference, in Markdown: what introduces it, and a directive for each name."""
    title, places, _ = PAGES[page]
    lines = [f"# {title}", "", f"::: microgradc.{places[0]}"]
    lines.append("    options: {members: false, show_root_heading: false, show_root_toc_entry: false}")
    for name in contents()[page]:
        lines += ["", f"::: {name}"]
        if name.endswith(".Compiled"):    # whose methods come from several classes
            lines.append("    options: {inherited_members: true, show_bases: false}")
    return "\n".join(lines) + "\n"


def overview():
    """Return the first page of the reference, in Markdown: all names, by page, with links."""
    lines = ["# Reference", "", "All public names. What has no module in front is imported from `microgradc`.", ""]
    for page, (title, _, _) in PAGES.items():
        names = [f"[`{name.removeprefix('microgradc.')}`][{name}]" for name in contents()[page]]
        lines += [f"## [{title}]({page}.md)", "", " ".join(names), ""]
    return "\n".join(lines)

"""Signatures with types and docstrings in full, for the reference.

The stubs of the extensions have the types, the extensions the docstrings: `Signatures`, which griffe runs when it has
read the former, puts both together. It writes overloads as one signature and the stubs' private names as what they
stand for, examples as blocks of code, and names in backquotes as links.
"""

import ast
import re
import sys
from functools import cache
from importlib import import_module
from inspect import cleandoc
from pathlib import Path

import griffe

sys.path.insert(0, str(Path(__file__).parent))
import reference

# What the stubs call what they take. A type that is more exact than these would say less to a reader.
WORDS = {
    "_Number": "float",
    "_Real": "float",
    "_Scalar": "Value | float",
    "_Operand": "Value | float | NDArray",
    "_Array": "NDArray",
    "_Floats": "NDArray[np.float64]",
    "_Differentiable": "Callable[..., Value | float]",
}
WORD = re.compile(rf"\b(?:{'|'.join(WORDS)})\b")
ORDER = ["Value", "float", "NDArray"]    # before other types; None comes last
OF_ONE_OPERAND = "_OfOneOperand"         # the type of such functions, which are attributes in the stub
# Whose methods the functions of a module talk of.
MEANT = {f"microgradc.program.{module}": "program.compile.Compiled" for module in ("compile", "partial", "loaded")}
NOT_OURS = {("microgradc.viz.dot", "dot"), ("microgradc.viz.training", "accuracy")}    # a program; an attribute

EXAMPLE = re.compile(r"(^>>> .*(?:\n.+)*)", re.MULTILINE)
PAGE = re.compile(r"\bdocs/(\w+)\.md\b")
QUOTED = re.compile(r"(`[^`\n]*`)")
NAME = re.compile(r"`([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)(\(\))?`")


class Signatures(griffe.Extension):
    """The two things that are done once the whole package has been read."""

    def on_package(self, *, pkg, loader, **_):
        reference.contents()    # which imports all that is public
        for module in own(pkg):
            if module.is_module and module.filepath.suffix == ".pyi":
                complete(module, import_module(module.path), loader)
        for name, place in reference.public_names():
            if place == "engine.functions":    # `import *` was read when those with overloads were not there
                short = name.removeprefix("microgradc.")
                pkg.set_member(short, griffe.Alias(short, f"microgradc.{place}.{short}"))
        for thing in own(pkg):
            if thing.docstring:
                thing.docstring.value = in_markdown(thing)


def own(scope):
    """Yield what is in a module or class, and what is in that, but for what comes from elsewhere."""
    for member in list(scope.members.values()):
        if not member.is_alias:
            yield member
            yield from own(member)


def complete(scope, runtime, loader):
    """Give what is in a stub its signatures and docstrings."""
    for name, overloads in list(scope.overloads.items()):
        if overloads:
            scope.set_member(name, one_of(name, overloads))
            scope.overloads[name] = []
    for name, member in list(scope.members.items()):
        if member.is_alias:
            continue
        if member.is_class:
            complete(member, getattr(runtime, name, None), loader)
        elif member.is_function:
            scope.set_member(name, one_of(name, [member]))
        elif str(member.annotation) == OF_ONE_OPERAND:
            scope.set_member(name, one_of(name, [scope[OF_ONE_OPERAND].members["__call__"]]))    # done already
        elif str(member.value) in scope.members:    # another name of a method
            scope.set_member(name, one_of(name, [scope.members[str(member.value)]]))
        here = getattr(runtime, name, None)
        text = getattr(here, "__doc__", None)
        if text and name != "__init__" and text != type(here).__doc__:    # not that of a number or a tuple
            scope[name].docstring = griffe.Docstring(
                cleandoc(text),
                parent=scope[name],
                parser=loader.docstring_parser,
                parser_options=loader.docstring_options,
            )


def one_of(name, overloads):
    """Return one function with the parameters of the last overload; the types are those of all."""
    last, parameters = overloads[-1], []
    for parameter in last.parameters:
        if parameter.name == "self" and last.name == "__call__" != name:
            continue    # of the class whose instances are these functions
        same = [overload.parameters[parameter.name] for overload in overloads if parameter.name in overload.parameters]
        default = next((p.default for p in same if p.default is not None), None)
        annotation = union([p.annotation for p in same], last.parent)
        parameters.append(griffe.Parameter(parameter.name, kind=parameter.kind, annotation=annotation, default=default))
    returns = union([overload.returns for overload in overloads], last.parent)
    function = griffe.Function(name, parameters=griffe.Parameters(*parameters), returns=returns, lineno=last.lineno)
    function.docstring = next((overload.docstring for overload in overloads if overload.docstring), None)
    function.labels = last.labels
    return function


def union(annotations, scope):
    """Return the union of types, those of the stub by what they stand for."""
    types = {}
    for annotation in filter(None, annotations):
        tree = ast.parse(WORD.sub(lambda m: WORDS[m[0]], str(annotation)), mode="eval").body
        types |= dict.fromkeys(map(ast.unparse, alternatives(tree)))
    if not types:
        return None
    types = sorted(types, key=lambda t: ORDER.index(t) if t in ORDER else len(ORDER) + (t == "None"))
    return griffe.get_annotation(ast.parse(" | ".join(types), mode="eval").body, parent=scope)


def alternatives(tree):
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        return [*alternatives(tree.left), *alternatives(tree.right)]
    return [tree]


@cache
def described():
    """Return the names in the reference, each also by its last part and by what follows `microgradc.`."""
    found = {}
    for name in [name for names in reference.contents().values() for name in names]:
        for short in (name, name.removeprefix("microgradc."), name.rpartition(".")[2]):
            found.setdefault(short, name)
    return found


def in_markdown(thing):
    """Return a docstring with its examples as blocks of code, and links to what it names."""
    scopes = [thing] if thing.is_class else [thing.parent] if thing.parent and thing.parent.is_class else []
    if thing.module.path in MEANT:
        scopes.append(thing.package[MEANT[thing.module.path]])
    parameters = {p.name for p in thing.parameters} if thing.is_function or thing.is_class else set()

    def link(match):
        name, call = match[1], match[2] or ""
        path = described().get(name)
        members = [scope.all_members.get(name) for scope in scopes if scope.name in described()]
        if member := next(filter(is_described, members), None):
            path = member.final_target.path if member.is_alias else member.path
        elif path is None and "." in name:
            cls, _, of_it = name.rpartition(".")
            path = f"{described()[cls]}.{of_it}" if cls in described() and is_described(
                thing.package[described()[cls].removeprefix("microgradc.")].all_members.get(of_it)
            ) else None
        own_name = path is None or path.rpartition(".")[2] == thing.name
        if own_name or (not call and name in parameters) or (thing.module.path, name) in NOT_OURS:
            return match[0]
        return f"[`{name}{call}`][{path}]"

    def text(part):
        quoted = QUOTED.split(part)
        quoted[::2] = [PAGE.sub(page, piece.replace("*", r"\*")) for piece in quoted[::2]]
        return NAME.sub(link, "".join(quoted))

    parts = EXAMPLE.split(thing.docstring.value)
    return "".join(f"```pycon\n{part}\n```" if i % 2 else text(part) for i, part in enumerate(parts))


def is_described(member):
    return member is not None and not member.name.startswith("_") and member.has_docstring and not member.is_module


def page(match):
    """Return the link to a page that a docstring names."""
    path = reference.ROOT / "docs" / f"{match[1]}.md"
    title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    return f"[{title}](../{match[1]}.md)"

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
OF_ONE_OPERAND = "_OfOneOperand"    # the type of such functions, which are attributes in the stub
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
NAME = re.compile(r"(?<![`\w\[])`([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)(\(\))?`(?![`\w\]])")


class Signatures(griffe.Extension):
    """The two things that are done once the whole package has been read."""

    def on_package(self, *, pkg, loader, **_):
        for module in own(pkg):
            if module.is_module and module.filepath.suffix == ".pyi":
                complete(module, import_module(module.path))
        for name, _ in reference.public_names():    # `import *` was read when functions with overloads were not there
            if name.count(".") == 1 and (short := name.removeprefix("microgradc.")) not in pkg.members:
                pkg.set_member(short, griffe.Alias(short, f"microgradc.engine.functions.{short}"))
        for thing in own(pkg):
            if thing.docstring:
                thing.docstring.value = in_markdown(thing)


def own(scope):
    """Yield what is in a module or class, and what is in that, but for what comes from elsewhere."""
    for member in list(scope.members.values()):
        if not member.is_alias:
            yield member
            yield from own(member)


def complete(scope, runtime):
    """Give what is in a stub its signatures and docstrings."""
    for name, overloads in list(scope.overloads.items()):
        if overloads:
            scope.set_member(name, one_of(name, overloads))
            scope.overloads[name] = []
    for name, member in list(scope.members.items()):
        if member.is_alias:
            continue
        if member.is_attribute and str(member.annotation) == OF_ONE_OPERAND:
            member = one_of(name, scope[OF_ONE_OPERAND].overloads["__call__"] or [scope[OF_ONE_OPERAND]["__call__"]])
            scope.set_member(name, member)
        elif member.is_function:
            scope.set_member(name, one_of(name, [member]))
        here = getattr(runtime, name, None)
        text = getattr(here, "__doc__", None)
        if text and not (member.is_attribute and isinstance(here, str | int | float | tuple)):
            scope[name].docstring = griffe.Docstring(cleandoc(text), parent=scope[name])
        if member.is_class and here is not None:
            complete(member, here)


def one_of(name, overloads):
    """Return one function with the parameters of the last overload; the types are those of all."""
    parameters = []
    for parameter in overloads[-1].parameters:
        same = [overload.parameters[parameter.name] for overload in overloads if parameter.name in overload.parameters]
        default = next((p.default for p in same if p.default is not None), None)
        annotation = union([p.annotation for p in same], overloads[-1].parent)
        parameters.append(griffe.Parameter(parameter.name, kind=parameter.kind, annotation=annotation, default=default))
    returns = union([overload.returns for overload in overloads], overloads[-1].parent)
    function = griffe.Function(
        name, parameters=griffe.Parameters(*parameters), returns=returns, lineno=overloads[-1].lineno
    )
    function.docstring = next((overload.docstring for overload in overloads if overload.docstring), None)
    function.labels = overloads[-1].labels
    return function


def union(annotations, scope):
    """Return the union of types, those of the stub by what they stand for."""
    types = {}
    for annotation in filter(None, annotations):
        tree = ast.parse(WORD.sub(lambda m: WORDS[m[0]], str(annotation)), mode="eval").body
        types |= dict.fromkeys(map(ast.unparse, alternatives(tree)))
    if not types:
        return None
    if "None" in types:
        types["None"] = types.pop("None")    # last
    return griffe.get_annotation(ast.parse(" | ".join(types), mode="eval").body, parent=scope)


def alternatives(tree):
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        return [*alternatives(tree.left), *alternatives(tree.right)]
    return [tree]


@cache
def described():
    """Return the names in the reference, each also by the last part and by what follows `microgradc.`."""
    found = {}
    for name in [name for names in reference.contents().values() for name in names]:
        for short in (name, name.removeprefix("microgradc."), name.rpartition(".")[2]):
            found.setdefault(short, name)
    return found


def in_markdown(thing):
    """Return a docstring with its examples as blocks of code, and links to what it names."""
    scope = thing if thing.is_class else thing.parent if thing.parent and thing.parent.is_class else None
    parameters = {p.name for p in thing.parameters} if thing.is_function or thing.is_class else set()

    def link(match):
        name, call = match[1], match[2] or ""
        path = described().get(name)
        if scope is not None and name in scope.members and scope.name in described():
            member = scope.members[name]
            if not name.startswith("_") and member.has_docstring and (member.is_function or member.is_attribute):
                path = f"{described()[scope.name]}.{name}"
        if path is None and "." in name:
            cls, _, member = name.rpartition(".")
            found = described().get(cls)
            if found and callable(getattr(reference.thing_at(found), member, None)):
                path = f"{found}.{member}"
        if path is None or (not call and name in parameters) or path.rpartition(".")[2] == thing.name:
            return match[0]
        return f"[`{name}{call}`][{path}]"

    def examples(match):
        return f"```pycon\n{match[0]}\n```"

    parts = EXAMPLE.split(thing.docstring.value)
    blocks = [examples(match) for match in EXAMPLE.finditer(thing.docstring.value)]
    texts = [NAME.sub(link, part) for part in parts]
    return "".join(text + block for text, block in zip(texts, [*blocks, ""], strict=True))

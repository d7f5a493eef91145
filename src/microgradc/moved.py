"""Former names: those that modules had before they lay in packages, which pickles refer to and programs import, such as
`microgradc.data`; and those of the package that have another name now."""

import sys

ModuleSpec = type(__spec__)    # of importlib.machinery, whose import would take a tenth of the package's

MOVED = {
    "bench": "cli.bench",
    "data": "train.data",
    "demo": "cli.demo",
    "dropin": "cli.dropin",
    "functions": "engine.functions",
    "init": "nn.init",
    "layout": "viz.layout",
    "lr_scheduler": "optim.lr_scheduler",
    "module": "nn.module",
    "modules": "nn.search",
    "plots": "viz.training",
    "settings": "checks",
    "tasks": "train.scores",
    "training": "train.fit",
    "transforms": "program.compile",
    "updates": "optim.updates",
}

# Former names of the package, each with the one of now and the minor version that renamed it, in which alone both work:
# {"minimise": ("minimize", "0.3")}.
RENAMED: dict[str, tuple[str, str]] = {}


def renamed(name):
    """Return what a former name of the package is called now, with a DeprecationWarning; None if it is not one."""
    if name not in RENAMED:
        return None
    import warnings

    new, version = RENAMED[name]
    warnings.warn(
        f"microgradc.{name} is called microgradc.{new} since version {version}, after which the old name goes",
        DeprecationWarning, stacklevel=3,
    )
    return new


def find_spec(name, path=None, target=None):
    """Return how to import a module by its former name; None if it is not one. An entry of `sys.meta_path` has this
    method."""
    package, _, former = name.rpartition(".")
    if package == "microgradc" and former in MOVED:
        return ModuleSpec(name, sys.modules[__name__])  # type: ignore[arg-type]  # this module is the loader
    return None


def get_code(name):
    """Return the code of the module that is meant, which `python -m` runs."""
    from importlib.util import find_spec
    from typing import Any

    spec: Any = find_spec("microgradc." + MOVED[name.rpartition(".")[2]])
    return spec.loader.get_code(spec.name)


def create_module(spec):
    """Leave it to the import system to make a module, which `exec_module` puts another in place of."""


def exec_module(module):
    """Put the module that is meant in place of a new one."""
    name = "microgradc." + MOVED[module.__name__.rpartition(".")[2]]
    __import__(name)
    sys.modules[module.__name__] = sys.modules[name]

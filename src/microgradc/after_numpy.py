"""NumPy's functions take Values as soon as both are imported, in whatever order. NumPy is not imported for that."""

import sys


def extend_numpy():
    """Have NumPy's functions take Values: now, or as soon as somebody imports NumPy."""
    if sys.modules.get("numpy") is not None:
        _install()
    elif _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def _install():
    if isinstance(getattr(sys.modules["numpy"], "ufunc", None), type):    # a stand-in for NumPy has none
        from microgradc import ufuncs

        ufuncs.install()


class _Finder:
    """An entry of `sys.meta_path` until NumPy is imported. What finds and loads it are the entries and loaders of
    before."""

    def find_spec(self, name, path=None, target=None):
        if name != "numpy" or self not in sys.meta_path:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
            if spec is not None:
                self._follow(spec.loader)
                return spec
        return None

    def _follow(self, loader):
        """Have this loader, as it runs NumPy, do what comes after; then it is as it was."""
        if isinstance(loader, type) or not hasattr(loader, "__dict__"):
            return    # `microgradc.arrays` will install them

        def exec_module(module):
            del loader.exec_module
            loader.exec_module(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _install()

        loader.exec_module = exec_module


_FINDER = _Finder()

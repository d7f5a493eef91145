"""The command: `microgradc`, and `python -m microgradc`. See `microgradc.cli.main`."""

from typing import Any

from microgradc.cli.process import command


def __getattr__(name: str) -> Any:
    if name != "main":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings

    from microgradc.cli.main import main

    warnings.warn(
        "microgradc.__main__.main is microgradc.cli.main.main since version 0.2, after which the old name goes",
        DeprecationWarning, stacklevel=2,
    )
    return main


if __name__ == "__main__":
    command()

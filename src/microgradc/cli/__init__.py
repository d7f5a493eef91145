"""The command line: `python -m microgradc`."""

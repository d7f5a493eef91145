"""The command: `microgradc`, and `python -m microgradc`. See `microgradc.cli.main`."""

from microgradc.cli.process import command

if __name__ == "__main__":
    command()

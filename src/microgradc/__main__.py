"""python -m microgradc: see `microgradc.cli.main`."""

import sys

from microgradc.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

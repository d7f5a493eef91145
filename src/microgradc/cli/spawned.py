"""What a worker process that was spawned by a script under `python -m microgradc run` begins with: that script, with
microgradc in micrograd's place. multiprocessing runs it by its name, as `__mp_main__`.
"""

import os

from microgradc.cli.dropin import install
from microgradc.cli.run import SCRIPT, execute

if __name__ == "__mp_main__":
    install()
    execute(os.environ[SCRIPT], globals())

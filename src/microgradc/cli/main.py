"""python -m microgradc demo | run SCRIPT [ARGS…] | bench"""

import argparse
import sys
from pathlib import Path

from microgradc import __version__


def main(arguments=None):
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m microgradc", description="A compiled micrograd.")
    parser.add_argument("--version", action="version", version=f"microgradc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train a small network on two moons, tell how fast it went, draw pictures")
    demo.add_argument("--steps", type=_positive, default=100, metavar="N", help="how many steps (default: 100)")
    demo.add_argument(
        "--seed", type=int, default=1337, metavar="N", help="for the data and the initial weights (default: 1337)"
    )
    demo.add_argument(
        "--folder",
        type=Path,
        default="microgradc-demo",
        help="for the pictures, made if need be (default: %(default)s)",
    )
    run = commands.add_parser("run", help="run a micrograd script unchanged: `micrograd` is microgradc inside it")
    run.add_argument("script", type=Path, metavar="SCRIPT", help="the path of a Python file")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="the script's own arguments")
    bench = commands.add_parser("bench", help="compare the speed of engines, as in the README's table")
    bench.add_argument(
        "--rounds", type=_positive, default=10, metavar="N", help="how often each engine takes its turn (default: 10)"
    )
    options = parser.parse_args(arguments)
    return {"demo": _demo, "run": _run, "bench": _bench}[options.command](options)


def _positive(text):
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {n}")
    return n


def _run(options):
    from microgradc.cli.run import run

    if not options.script.is_file():
        print(f"python -m microgradc run: there is no file {options.script}", file=sys.stderr)
        return 2
    run(options.script, options.arguments)
    return 0


def _bench(options):
    from microgradc.cli import bench

    bench.main(rounds=options.rounds)
    return 0


def _demo(options):
    from microgradc.cli import demo

    try:
        demo.make_folder(options.folder)
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}"
        message = f"no pictures can be written to {options.folder} ({reason}); --folder names another"
        print(f"python -m microgradc demo: {message}", file=sys.stderr)
        return 2
    demo.run(options.steps, options.seed, options.folder)
    return 0

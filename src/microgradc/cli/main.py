"""python -m microgradc demo | run SCRIPT [ARGS…] | bench | check MODULE:FUNCTION --inputs NUMBERS"""

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
    check = commands.add_parser("check", help="compare a function's values and derivatives with PyTorch's")
    check.add_argument("target", metavar="MODULE:FUNCTION", help="the function, of a module here or installed")
    check.add_argument("--inputs", required=True, metavar="NUMBERS", help="its arguments: numbers, such as 1.0,2.0")
    check.add_argument(
        "--order", type=int, choices=(1, 2), default=2, help="1 to leave second derivatives out (default: 2)"
    )
    options = parser.parse_args(_with_signs(sys.argv[1:] if arguments is None else arguments))
    return {"demo": _demo, "run": _run, "bench": _bench, "check": _check}[options.command](options)


def _with_signs(arguments):
    """Return the arguments with `--inputs -1.0,2.0` as one, which argparse would take for two options."""
    joined: list[str] = []
    for text in arguments:
        if joined and joined[-1] == "--inputs":
            joined[-1] = f"--inputs={text}"
        else:
            joined.append(text)
    return joined


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


def _check(options):
    from microgradc.cli.check import CheckError, check

    try:
        return check(options.target, options.inputs, options.order)
    except CheckError as error:
        print(f"python -m microgradc check: {error}", file=sys.stderr)
        return 2


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

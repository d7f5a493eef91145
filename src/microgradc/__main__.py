"""python -m microgradc demo | run SCRIPT [ARGS…] | bench"""

import argparse
import importlib.util
import runpy
import sys
import time
from pathlib import Path

from microgradc import __version__


def main(arguments=None):
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m microgradc", description="A compiled micrograd.")
    parser.add_argument("--version", action="version", version=f"microgradc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train a small network on two moons, and tell how fast it went")
    demo.add_argument("--steps", type=_positive, default=100, metavar="N", help="how many steps (default: 100)")
    demo.add_argument("--seed", type=int, default=1337, metavar="N", help="for the data and the initial weights (default: 1337)")
    run = commands.add_parser("run", help="run a micrograd script unchanged: `micrograd` is microgradc inside it")
    run.add_argument("script", type=Path, metavar="SCRIPT", help="the path of a Python file")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="the script's own arguments")
    bench = commands.add_parser("bench", help="compare the speed of engines, as in the README's table")
    bench.add_argument("--rounds", type=_positive, default=30, metavar="N", help="steps that each engine is timed for (default: 30)")
    options = parser.parse_args(arguments)
    return {"demo": _demo, "run": _run, "bench": _bench}[options.command](options)


def _positive(text):
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {n}")
    return n


def _run(options):
    from microgradc.dropin import install

    if not options.script.is_file():
        print(f"python -m microgradc run: there is no file {options.script}", file=sys.stderr)
        return 2
    install()
    sys.argv = [str(options.script), *options.arguments]
    sys.path[0] = str(options.script.resolve().parent)
    runpy.run_path(str(options.script), run_name="__main__")
    return 0


def _bench(options):
    from microgradc import bench

    bench.main(rounds=options.rounds)
    return 0


def _demo(options):
    from tqdm import trange

    from microgradc import topological_sort
    from microgradc.demo import MoonsTraining

    training = MoonsTraining("microgradc", options.seed)
    print(f"two moons, {len(training.X)} points; {len(training.model.parameters())} parameters in an MLP with layers 2, 16, 16, 1")
    losses, times = [], []
    with trange(options.steps, desc="training", unit="step") as progress:
        for k in progress:
            begin = time.perf_counter()
            loss, accuracy = training.step(k, options.steps)
            times.append(time.perf_counter() - begin)
            losses.append(loss)
            progress.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.0%}", refresh=False)
    nodes = len(topological_sort(training.loss()[0]))
    accuracy = training.accuracy()
    step = sorted(times)[len(times) // 2]
    print(f"accuracy          {accuracy:.0%}")
    print(f"loss              {losses[0]:.4f} at first, {losses[-1]:.4f} at last")
    print(f"time              {step * 1e3:.2f} ms a step (median; minimum {min(times) * 1e3:.2f} ms)")
    print(f"nodes             {nodes:,} in the graph of a step, {nodes / step / 1e6:.1f} million a second")
    _compare(options, losses, step)
    return 0


def _compare(options, losses, step):
    if importlib.util.find_spec("micrograd") is None:
        print("next to micrograd not measured; for the comparison `pip install micrograd` and run the demo again")
        return
    from microgradc.demo import MoonsTraining

    training = MoonsTraining("micrograd", options.seed)
    times = []
    for k in range(min(5, options.steps)):
        begin = time.perf_counter()
        loss, _ = training.step(k, options.steps)
        times.append(time.perf_counter() - begin)
        if abs(loss - losses[k]) > 1e-9 * abs(loss):
            raise AssertionError(f"micrograd's loss at step {k} is {loss!r}, microgradc's {losses[k]!r}")
    median = sorted(times)[len(times) // 2]
    print(f"next to micrograd {median / step:.0f} times faster; it takes {median * 1e3:.0f} ms a step (median of {len(times)})")
    print("                  the losses are the same")


if __name__ == "__main__":
    sys.exit(main())

"""microgradc demo | run SCRIPT [ARGS...] | bench | check MODULE:FUNCTION --inputs NUMBERS | completion SHELL"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from microgradc import __version__
from microgradc.cli.terminal import called, say

__all__ = ["main", "options_of", "parser", "perform"]

SHELLS = ("bash", "zsh", "fish", "tcsh")
_LAST_SEED = 2**32 - 1


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name what was probably meant, and whose help is written or raises an OSError."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file is not None and file is sys.stdout:
            file.write(message)     # argparse would pass over a full disk
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if found:
            message += _meant(found[1], re.findall(r"[\w-]+", found[2]))
        super().error(message)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End with the error of arguments that there are not."""
        known = re.findall(r"--[a-z]+", self.format_help())
        advice = next(filter(None, [_meant(text.partition("=")[0], known) for text in unknown if text[:1] == "-"]), "")
        self.error(f"unrecognized arguments: {' '.join(unknown)}{advice}")


def parser() -> tuple[_Parser, dict[str, _Parser]]:
    """Return the parser of the command line, and those of its commands by name. Completion is made of them, too."""
    name = called()
    whole = _Parser(prog=name, description="A compiled micrograd.", epilog=f"{name} COMMAND --help shows examples.")
    whole.add_argument("--version", action="version", version=f"microgradc {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    made = {}

    def add(command: str, about: str, *examples: str) -> argparse.ArgumentParser:
        lines = "".join(f"\n  {name} {command} {example}".rstrip() for example in examples)
        made[command] = commands.add_parser(
            command,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"examples:{lines}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return made[command]

    demo = add(
        "demo", "train a small network on two moons, tell how fast it went, draw pictures",
        "", "--steps 20 --seed 7", "--folder pictures",
    )
    demo.add_argument("--steps", type=_positive, default=100, metavar="N", help="how many steps (default: 100)")
    demo.add_argument(
        "--seed", type=_seed, default=1337, metavar="N", help="for the data and the initial weights (default: 1337)"
    )
    demo.add_argument(
        "--folder",
        type=Path,
        default="microgradc-demo",
        help="for the pictures, made if need be (default: %(default)s)",
    )
    run = add(
        "run", "run a micrograd script unchanged: `micrograd` is microgradc inside it",
        "train.py", "train.py --its own arguments",
    )
    run.add_argument("script", type=Path, metavar="SCRIPT", help="the path of a Python file")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="the script's own arguments")
    bench = add("bench", "compare the speed of engines, as in the README's table", "", "--rounds 3")
    bench.add_argument(
        "--rounds", type=_positive, default=10, metavar="N", help="how often each engine takes its turn (default: 10)"
    )
    check = add(
        "check", "compare a function's values and derivatives with PyTorch's",
        "models:loss --inputs 1.0,2.0", "models:loss --inputs -1,0.5 --order 1",
    )
    check.add_argument("target", metavar="MODULE:FUNCTION", help="the function, of a module here or installed")
    check.add_argument("--inputs", required=True, metavar="NUMBERS", help="its arguments: numbers, such as 1.0,2.0")
    check.add_argument(
        "--order", type=int, choices=(1, 2), default=2, help="1 to leave second derivatives out (default: 2)"
    )
    completion = add(
        "completion", "print what makes a shell complete this command",
        "bash > ~/.local/share/bash-completion/completions/microgradc",
        "zsh > ~/.zfunc/_microgradc",
        "fish > ~/.config/fish/completions/microgradc.fish",
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return whole, made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line within another program; return the exit code."""
    return perform(options_of(sys.argv[1:] if arguments is None else arguments))


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the arguments of a command line ask for; end with an error that says what is wrong with them."""
    whole, commands = parser()
    options, unknown = whole.parse_known_args(_with_signs(arguments))
    if unknown:
        commands[options.command].refuse(unknown)
    return options


def perform(options: argparse.Namespace) -> int:
    """Do what was asked for; return the exit code."""
    perform: Callable[[argparse.Namespace], int] = globals()[f"_{options.command}"]
    return perform(options)


def _with_signs(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--inputs -1.0,2.0` as one, which argparse would take for two options."""
    if list(arguments[:1]) != ["check"]:      # those of a script are its own
        return list(arguments)
    joined: list[str] = []
    for text in arguments:
        if joined and joined[-1] == "--inputs" and text.startswith("-") and not text.startswith("--"):
            joined[-1] = f"--inputs={text}"
        else:
            joined.append(text)
    return joined


def _meant(word: str, known: Sequence[str]) -> str:
    """Return the question whether a word that is like one of these was meant."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _whole(text: str, least: int, most: int | None = None) -> int:
    try:
        n = int(text)
    except ValueError:
        n = least - 1
    if n < least or (most is not None and n > most):
        room = f"at least {least}" if most is None else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"must be a whole number, {room}, got {text!r:.40}")
    return n


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0, _LAST_SEED)


def _run(options: argparse.Namespace) -> int:
    if not options.script.is_file():
        say(f"{called()} run: there is no file {options.script}")
        return 2
    from microgradc.cli.run import run

    run(options.script, options.arguments)
    return 0


def _check(options: argparse.Namespace) -> int:
    from microgradc.cli.check import CheckError, FunctionError, check

    try:
        return check(options.target, options.inputs, options.order)
    except FunctionError as error:
        say(f"{error.traceback}{called()} check: {error}")
        return 1
    except CheckError as error:
        say(f"{called()} check: {error}")
        return 2


def _bench(options: argparse.Namespace) -> int:
    from microgradc.cli import bench

    bench.main(rounds=options.rounds)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from microgradc.cli import demo

    try:
        demo.make_folder(options.folder)
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}"
        say(f"{called()} demo: no pictures can be written to {options.folder} ({reason}); --folder names another")
        return 2
    demo.run(options.steps, options.seed, options.folder)
    return 0


def _completion(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        say(f"{called()} completion: it is made by shtab: pip install shtab")
        return 1
    whole, commands = parser()
    whole.prog = "microgradc"
    for name, command in commands.items():
        command.prog = f"microgradc {name}"
        for action in command._actions:
            if action.dest in ("folder", "script"):
                files = shtab.DIRECTORY if action.dest == "folder" else shtab.FILE
                action.complete = files  # type: ignore[attr-defined]
    print(shtab.complete(whole, options.shell))
    return 0

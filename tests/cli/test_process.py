"""The command as a process: what it imports, how it ends, what it says of mistakes, and what shells complete."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

PLAIN = {name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", "PYTHONIOENCODING")}
COMMANDS = ["demo", "run", "bench", "check", "completion"]


@pytest.fixture
def command(tmp_path):
    """The installed command: what pip makes of the entry in pyproject.toml, with the same words."""
    script = tmp_path / "bin" / "microgradc"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom microgradc.cli.process import command\ncommand()\n")
    script.chmod(0o755)
    return [sys.executable, str(script)]


@pytest.fixture
def quick(command):
    """The same where the demo draws nothing, and compares with nothing: a tenth of its time."""
    script = Path(command[1])
    begin = "import sys\nsys.modules['micrograd'] = None\nimport microgradc.cli.demo as demo\n"
    draw = "demo.draw = lambda training, history, folder: ['history.png']\n"
    head, body = script.read_text().split("\n", 1)
    script.write_text(f"{head}\n{begin}{draw}{body}")
    return command


def shell(text, *arguments, **environment):
    """Run a line of bash, in which "$@" is the command; return what it printed, and its exit code."""
    result = subprocess.run(
        ["bash", "-c", text, "bash", *arguments],
        capture_output=True, text=True, timeout=120, env={**PLAIN, "COLUMNS": "80", **environment},
    )
    return result.stdout, result.stderr, result.returncode


def test_the_entry_of_the_project_is_the_command():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'microgradc = "microgradc.cli.process:command"' in text


def test_it_says_how_it_was_called(command):
    as_module = [sys.executable, "-m", "microgradc"]
    for arguments in ("demo --help", "dance", "run no.py"):
        ours, theirs = (shell(f'"$@" {arguments}', *words) for words in (command, as_module))
        assert "python -m" not in ours[0] + ours[1]
        assert "python -m microgradc" in theirs[0] + theirs[1]
        assert [re.sub(r"\s+", " ", text.replace("python -m ", "")) for text in theirs[:2]] == [
            re.sub(r"\s+", " ", text) for text in ours[:2]], "the same program with the same words"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_can_be_parsed(command, name):
    from microgradc.cli.main import options_of

    text, _, code = shell(f'"$@" {name} --help', *command)
    assert code == 0
    examples = re.findall(r"^  microgradc (.*)$", text, re.MULTILINE)
    assert examples
    for example in examples:
        assert options_of(example.partition(" > ")[0].split()).command == name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dmeo", "argument COMMAND: invalid choice: 'dmeo'"),
        ("dmeo", "Did you mean 'demo'?"),
        ("demo --stpes 3", "unrecognized arguments: --stpes 3. Did you mean '--steps'?"),
        ("bench --round=x", "argument --rounds: must be a whole number, at least 1, got 'x'"),
        ("demo --steps 1.5", "argument --steps: must be a whole number, at least 1, got '1.5'"),
        ("demo --seed -1", "argument --seed: must be a whole number, from 0 to 4294967295, got '-1'"),
        ("check models:f", "the following arguments are required: --inputs"),
        ("check models:f --inputs 1 --order 3", "argument --order: invalid choice: 3 (choose from 1, 2)"),
        ("completion bsh", "Did you mean 'bash'?"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_mistakes_are_named(command, line, message):
    out, error, code = shell(f'"$@" {line}', *command)
    assert (out, code) == ("", 2)
    assert error.startswith("usage: microgradc")
    assert message in error.replace("'1', '2'", "1, 2")


def test_help_and_mistakes_import_little(run_python):
    heavy = "numpy tqdm matplotlib random inspect shtab subprocess json microgradc.nn microgradc.program".split()
    for arguments in (["demo", "--help"], ["dmeo"], ["run", "no.py"]):
        out = run_python(f"""
import sys
sys.argv = ["microgradc", *{arguments}]
from microgradc.cli.process import command
try:
    command()
except SystemExit:
    print("ENDED", [name for name in {heavy} if name in sys.modules])
""")
        assert out.endswith("ENDED []\n"), out


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="there is no SIGPIPE here")
def test_a_closed_pipe_ends_it_without_a_word(quick, tmp_path):
    # The reader ends before the first line is written, or after it.
    out, error, _ = shell('"$@" demo --steps 3 --folder . | true; echo ${PIPESTATUS[0]}', *quick)
    assert (out, error.replace("\r", "\n").count("Traceback")) == ("141\n", 0)
    out, error, _ = shell('"$@" demo --steps 3 --folder "$2.d" 2>&1 | head -n 1; echo ${PIPESTATUS[0]}', *quick)
    assert error == ""
    assert out.startswith("two moons, 100 points;")
    assert out.endswith("\n141\n")
    out, error, _ = shell('"$@" --help | true; echo ${PIPESTATUS[0]}', *quick)
    assert error == ""
    assert out in ("0\n", "141\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_is_said(quick, tmp_path):
    for line, unbuffered in itertools.product(("--help", "--version", "demo --help"), ("", "1")):
        assert shell(f'PYTHONUNBUFFERED={unbuffered} "$@" {line} > /dev/full', *quick) == (
            "", "microgradc: cannot write: No space left on device\n", 1)
    out, error, code = shell('"$@" demo --steps 2 --folder "$2.d" 2> /dev/full > /dev/full', *quick)
    assert (out, error, code) == ("", "", 1)


def test_closed_streams(quick, tmp_path):
    folder = f"demo --steps 2 --folder '{tmp_path}'"
    out, error, code = shell(f'"$@" {folder} >&-', *quick)
    assert code == 0, error
    assert "Traceback" not in error
    out, error, code = shell(f'"$@" {folder} 2>&- <&-', *quick)
    assert (code, error) == (0, "")
    assert "history.png" in out
    assert shell('"$@" dance 2>&-', *quick)[1:] == ("", 2)
    assert shell('"$@" run no.py 2>&-', *quick) == ("", "", 2)


WHEN = {"at once": 0.0, "while it imports": 0.05, "later": 0.15, "while it trains": 0.6}


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise")
@pytest.mark.parametrize("line", ["demo --steps 1000000", "bench --rounds 1000", "check slow:f --inputs 1"])
def test_ctrl_c_ends_it_without_a_word(command, tmp_path, line):
    (tmp_path / "slow.py").write_text("import time\n\ndef f(x):\n    time.sleep(60)\n    return x * x\n")
    for seconds in WHEN.values():
        program = (     # a process that says when it has begun: before that, Python itself is not there
            f"import sys; sys.argv = ['microgradc', *{line.split()}]; from microgradc.cli.process import command\n"
            "import signal; from microgradc.cli import terminal\n"
            "end = terminal.end_at_ctrl_c\n"
            "def begun(): end(); print('begun', flush=True)\n"
            "import microgradc.cli.process as p; p.end_at_ctrl_c = begun; command()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path, env=PLAIN, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stdout.readline() == "begun\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGINT, error
        assert "Traceback" not in error
        assert "KeyboardInterrupt" not in error


@pytest.mark.skipif(os.name == "nt", reason="there is no such shell")
def test_a_shell_calls_ctrl_c_130(command, tmp_path):
    """A process in the background of a script ignores Ctrl-C, so here it does not to begin with."""
    begin = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    line = (
        '"$1" -c "$BEGIN" "$@" bench --rounds 1000 > "$OUT" & until [ -s "$OUT" ]; do sleep 0.1; done; '
        "kill -INT $!; wait $!; echo $?"
    )
    assert shell(line, *command, BEGIN=begin, OUT=str(tmp_path / "out"))[:2] == ("130\n", "")


def test_ascii_and_narrow_terminals(quick, tmp_path):
    for environment in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}):
        out, error, code = shell(
            f"cd '{tmp_path}'; \"$@\" demo --steps 2 --folder é", *quick, NO_COLOR="1", **environment)
        assert code == 0, error
        assert "\x1b" not in out
        assert out.isascii()
        assert "history.png" in out
    for name in ("demo", "check"):
        out, _, code = shell(f'"$@" {name} --help', *quick, COLUMNS="20", PYTHONIOENCODING="ascii")
        assert code == 0
        assert out.startswith("usage: microgradc")


FAILING = """
def helper(x):
    return {}[x]

def fails(x):
    try:
        return helper(1)
    except KeyError as error:
        raise ValueError("no such x") from error
"""


def test_check_shows_where_a_function_raised(command, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "broken.py").write_text("import failing\nfailing.helper(3)\n")
    (tmp_path / "typo.py").write_text("x = (\n")
    _, error, code = shell(f"cd '{tmp_path}'; \"$@\" check failing:fails --inputs 1", *command)
    assert code == 1
    files = re.findall(r'^  File "(.*)", line', error, re.MULTILINE)
    assert {Path(name).name for name in files} == {"failing.py"}
    assert error.splitlines()[0] == "Traceback (most recent call last):"
    assert "The above exception was the direct cause" in error
    assert error.endswith("microgradc check: failing:fails raised an exception, ValueError: no such x\n")
    _, error, code = shell(f"cd '{tmp_path}'; \"$@\" check broken:f --inputs 1", *command)
    assert code == 1
    assert [Path(name).name for name in re.findall(r'^  File "(.*)", line', error, re.MULTILINE)] == [
        "broken.py", "failing.py"]
    _, error, code = shell(f"cd '{tmp_path}'; \"$@\" check typo:f --inputs 1", *command)
    assert code == 1
    assert "was never closed" in error


# Completion

needs_shtab = pytest.mark.skipif(find_spec("shtab") is None, reason="needs shtab")


def completed(command, words, folder):
    """Return what bash completes a line to, by the script that the command prints."""
    program = (
        'eval "$("$1" "$2" completion bash)"; shift 2; cd "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        "$(complete -p microgradc | sed 's/.* -F \\([^ ]*\\) .*/\\1/') microgradc \"${COMP_WORDS[COMP_CWORD]}\"; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    out, error, code = shell(program, *command, str(folder), *words)
    assert code == 0, error
    return out.split()


@needs_shtab
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(command, tmp_path):
    (tmp_path / "script.py").touch()
    (tmp_path / "folder").mkdir()
    assert completed(command, ["microgradc", ""], tmp_path) == COMMANDS
    assert completed(command, ["microgradc", "d"], tmp_path) == ["demo"]
    assert completed(command, ["microgradc", "demo", "--s"], tmp_path) == ["--steps", "--seed"]
    assert completed(command, ["microgradc", "completion", "z"], tmp_path) == ["zsh"]
    assert completed(command, ["microgradc", "run", "scr"], tmp_path) == ["script.py"]
    assert completed(command, ["microgradc", "demo", "--folder", "f"], tmp_path) == ["folder"]


@needs_shtab
@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_can_read_theirs(command, name):
    text, error, code = shell(f'"$@" completion {name}', *command)
    assert (code, error) == (0, "")
    for word in COMMANDS:
        assert word in text
    if shutil.which(name):
        checked = subprocess.run([name, "-n", "/dev/stdin"], input=text, capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_completion_without_shtab(run_python):
    run_python("""
import contextlib, io, sys
sys.modules["shtab"] = None
from microgradc.cli.main import main
with contextlib.redirect_stderr(io.StringIO()) as said:
    assert main(["completion", "bash"]) == 1
assert "pip install shtab" in said.getvalue(), said.getvalue()
""")


def test_a_script_gets_its_arguments_as_they_are(tmp_path):
    (tmp_path / "script.py").write_text("import sys; print(sys.argv[1:])")
    arguments = ["--inputs", "a", "-1", "b"]
    command = [sys.executable, "-m", "microgradc", "run", "script.py", *arguments]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout == f"{arguments}\n"


def test_main_by_its_former_name():
    import microgradc.__main__
    from microgradc.cli.main import main

    with pytest.warns(DeprecationWarning, match=r"cli\.main"):
        assert microgradc.__main__.main is main

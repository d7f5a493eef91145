"""The faults of tests/trust/mutants.toml are still ones of the sources, and each was seen or is explained."""

import json

import pytest
from trust.instrumented import ROOT
from trust.mutants import RESULTS, mutants

MUTANTS = mutants()


def test_each_applies_once():
    wrong = []
    for mutant in MUTANTS:
        text = (ROOT / "src" / "microgradc" / mutant.file).read_text(encoding="utf-8")
        try:
            mutant.place_in(text)
        except ValueError as error:
            wrong.append(str(error))
    assert not wrong, "\n".join(wrong)


def test_each_was_seen_or_is_explained():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    unknown = [mutant.breaks for mutant in MUTANTS if mutant.key not in results]
    assert not unknown, "run python -m tests.trust.mutants --write"
    assert [m.breaks for m in MUTANTS if not results[m.key] and not m.unseen] == []
    assert [m.breaks for m in MUTANTS if results[m.key] and m.unseen] == []


def test_those_who_saw_them_are_there():
    for name in filter(None, json.loads(RESULTS.read_text(encoding="utf-8")).values()):
        if "::" in name:
            file, _, function = name.partition("::")
            function = function.partition("[")[0].rpartition("::")[2]
            assert f"def {function}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize(
    ("file", "text", "change", "expected"),
    [
        ("a.h", "if (x < y) z++;\n", "if («x < y → x <= y»)", "if ((MGC_MUTANT(1) ? (x <= y) : (x < y))) z++;\n"),
        ("a.h", "z++;\n", "«z++; → »", "{ if (MGC_MUTANT(1)) {  } else { z++; } }\n"),
        ("a.pxi", "\n    x = y + 1\n", "x = «y + 1 → y»", "\n    x = (y if MGC_MUTANT(1) else y + 1)\n"),
        ("a.pxi", "\n    x += 1\n", "«x += 1 → pass»", "\n    if MGC_MUTANT(1): pass\n    else: x += 1\n"),
    ],
)
def test_how_a_fault_is_put_in(file, text, change, expected):
    mutant = type(MUTANTS[0])(1, file, change, "something", [])
    assert mutant.put_into(text, True) == expected


def test_a_fault_that_is_there_twice_is_refused():
    mutant = type(MUTANTS[0])(1, "a.h", "«x → y»", "something", [])
    with pytest.raises(ValueError, match="must apply once, but does 2 times: 'x'"):
        mutant.put_into("x x", True)

"""The part `threads`, in the process that is watched."""

import sys

from .child import say
from .findings import Budget
from .threads import run

if __name__ == "__main__":
    findings = run(Budget(float(sys.argv[2]), int(sys.argv[1])))
    say(count="cases", by=findings.cases)
    for finding in findings.found:
        say(found=finding.what, program=finding.program)

"""Storms of signals: a handler that raises KeyboardInterrupt every millisecond or so, in the middle of every scenario.
The call is interrupted or done; afterwards everything has the right numbers."""

import random
import signal
import sys
import time

from .allocations import NAMES
from .child import run_child, say, say_at
from .findings import Findings


def run(budget):
    findings = Findings()
    if not hasattr(signal, "setitimer"):
        return Findings(missing="this platform has no interval timers")
    for i, name in enumerate(NAMES):
        share = max(budget.left(), 0.5) / (len(NAMES) - i)
        run_child(findings, budget.seed, "signals", name, budget.seed, share, timeout=share + 120)
    return findings


def storm(name, seed, seconds):
    from .scenarios import flat, outcome, scenarios

    scenario, draw = scenarios([name])[name], random.Random(seed)
    expected, begin = flat(scenario.call()), time.monotonic()
    alone = time.perf_counter()
    scenario.call()
    alone = time.perf_counter() - alone
    interrupted = finished = 0
    while time.monotonic() - begin < seconds or not finished + interrupted:
        # In one of three, signals keep coming while it unwinds.
        delay = draw.uniform(1e-6, 1.2 * alone + 1e-5)
        number = draw.choice([signal.SIGALRM, signal.SIGVTALRM])
        timer = signal.ITIMER_REAL if number == signal.SIGALRM else signal.ITIMER_VIRTUAL
        signal.signal(number, signal.default_int_handler)
        say_at(f"a signal after {delay:.2e} s")
        got = None
        try:
            try:
                signal.setitimer(timer, delay, draw.choice([0, 0, 1e-3]))
                got = flat(scenario.call())
            finally:
                quiet(timer, number)
        except KeyboardInterrupt:
            interrupted += 1
        except Exception as error:
            say(found=f"{name}: {type(error).__name__} after a signal: {error}"[:300])
        else:
            finished += 1
        quiet(timer, number)
        if got is not None and got != expected:
            say(found=f"{name}: another result though it was not interrupted")
        again = outcome(scenario)
        if again != expected:
            say(found=f"{name}: not usable after a signal: {again[:300]}")
            return
    say(count="cases", by=interrupted + finished)
    say(count="interrupted", by=interrupted)


def quiet(timer, number):
    """No more signals; one that has come already is taken here."""
    while True:
        try:
            signal.setitimer(timer, 0)
            signal.signal(number, signal.SIG_IGN)
            return
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    storm(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))

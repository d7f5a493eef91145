"""How long it takes to record a function and to make its program ready, a node.

python benchmarks/recording.py          # a table, Markdown
"""

import resource
import time

import numpy as np

import microgradc
from microgradc import MLP, Value, compile, dot, sin


def pendulum(steps):
    """Return a function of the start of a pendulum: its angle after so many steps of Runge and Kutta, unrolled."""

    def f(angle, speed):
        h = 0.01
        for _ in range(steps):
            a1, s1 = speed, -9.81 * sin(angle)
            a2, s2 = speed + h / 2 * s1, -9.81 * sin(angle + h / 2 * a1)
            a3, s3 = speed + h / 2 * s2, -9.81 * sin(angle + h / 2 * a2)
            a4, s4 = speed + h * s3, -9.81 * sin(angle + h * a3)
            angle = angle + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
            speed = speed + h / 6 * (s1 + 2 * s2 + 2 * s3 + s4)
        return angle

    return f


def works():
    """Yield (name, function, arguments, how to call its compiled form)."""
    for steps in (20, 200, 2_000, 20_000):
        yield f"pendulum, {steps:,} steps", pendulum(steps), (1.0, 0.0), "value_and_grad"
    weights = [Value(0.1 * i % 1) for i in range(100_000)]
    yield "dot of 100,000 parameters", lambda x: dot(weights, [x] * len(weights)), (1.0,), "value_and_grad"
    model = MLP(784, [512, 512, 10], seed=0)
    yield "MLP(784, [512, 512, 10])", model, (np.full(784, 0.1),), "__call__"


def main():
    """Print the table."""
    print("| first call | nodes | seconds | µs a node | MB at most |\n|---|---|---|---|---|")
    for name, f, arguments, way in works():
        values = [Value(x) if isinstance(x, float) else [Value(y) for y in x] for x in arguments]
        outputs = f(*values)
        nodes = len(microgradc.topological_sort(outputs if isinstance(outputs, Value) else microgradc.sum(outputs)))
        best = np.inf
        for _ in range(3):
            compiled = compile(f)
            begin = time.process_time()
            getattr(compiled, way)(*arguments)
            best = min(best, time.process_time() - begin)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {name} | {nodes:,} | {best:.3f} | {best / nodes * 1e6:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()

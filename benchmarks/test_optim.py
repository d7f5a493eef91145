"""A step of each optimizer over 10,000 parameters: 1 ms in the table is 100 ns a parameter.

PyTorch gets one tensor of 10,000 numbers, so it pays for its overhead once and can use SIMD; with 10,000 scalar
tensors, which are what the Values are, a step takes it thousands of times as long. The control without an optimizer is
the loop in Python that micrograd's users write.
"""

import numpy as np
import pytest

from microgradc import Value, optim

PARAMETERS = 10_000
ROUNDS = 50
WORKLOADS = {
    "SGD": ("SGD", {"lr": 1e-3}),
    "SGD with momentum": ("SGD", {"lr": 1e-3, "momentum": 0.9}),
    "Adam": ("Adam", {}),
    "Adam, AMSGrad": ("Adam", {"amsgrad": True}),
    "AdamW": ("AdamW", {}),
    "RMSprop": ("RMSprop", {}),
    "RMSprop, centered, with momentum": ("RMSprop", {"centered": True, "momentum": 0.9}),
}
GRADIENTS = np.random.default_rng(0).normal(size=PARAMETERS)
START = np.random.default_rng(1).normal(size=PARAMETERS)


def microgradc_parameters():
    values = [Value(x) for x in START]
    for v, g in zip(values, GRADIENTS, strict=True):
        v.grad = g
    return values


def microgradc_step(name, settings):
    values = microgradc_parameters()
    return getattr(optim, name)(values, **settings).step, lambda: [v.data for v in values]


def torch_step(name, settings):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    torch.set_num_threads(1)
    p = torch.tensor(START, requires_grad=True)
    p.grad = torch.tensor(GRADIENTS)
    return getattr(torch.optim, name)([p], **settings).step, p.tolist


ENGINES = {"microgradc": microgradc_step, "PyTorch, one tensor": torch_step}


def expected(workload, steps):
    """What PyTorch gets after as many steps."""
    step, data = torch_step(*WORKLOADS[workload])
    for _ in range(steps):
        step()
    return data()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_step(benchmark, engine, workload):
    benchmark.group = f"10,000 parameters: {workload}"
    step, data = ENGINES[engine](*WORKLOADS[workload])
    taken = []
    benchmark.pedantic(lambda: taken.append(step()), rounds=ROUNDS, warmup_rounds=3)
    np.testing.assert_allclose(data(), expected(workload, len(taken)), rtol=1e-12, atol=1e-14)


def test_step_in_a_python_loop(benchmark):
    benchmark.group = "10,000 parameters: SGD"
    values, lr, taken = microgradc_parameters(), 1e-3, []

    def step():
        for p in values:
            p.data -= lr * p.grad
        taken.append(None)

    benchmark.pedantic(step, rounds=ROUNDS, warmup_rounds=3)
    np.testing.assert_allclose([p.data for p in values], START - len(taken) * lr * GRADIENTS, rtol=1e-12, atol=1e-14)

"""A GPT, scalar by scalar: every number in the model and in its forward pass is a Value.

The script trains a one-layer transformer to spell first names (from the package `names`), and then invents new names.

    python examples/gpt.py [STEPS] [--plain | --compiled]

With --plain, the inner loops are in Python, as for micrograd. Without it, they are microgradc's `dot`, `sum`, `softmax`
and so on. With --compiled, the loss is traced once for each length of a name, and replayed for all names of that length
(`microgradc.compile`); the optimizer is microgradc's, too. The model is the same.
"""

import random
import sys
import time
from importlib.resources import files
from itertools import pairwise
from math import exp, sqrt
from operator import getitem

import microgradc
from microgradc import Value, optim

N_EMBD, N_HEAD, BLOCK_SIZE = 16, 4, 16
HEAD_DIM = N_EMBD // N_HEAD
LETTERS = "abcdefghijklmnopqrstuvwxyz"
BOS = len(LETTERS)  # the token before a name and after it
VOCAB_SIZE = BOS + 1


class PlainLoops:
    """Weighted sum, sum, softmax and so on in Python, for anything with + * /, exp and log."""

    @staticmethod
    def dot(w, x):
        return sum(wi * xi for wi, xi in zip(w, x, strict=True))

    @staticmethod
    def softmax(logits):
        largest = max(v.data for v in logits)
        exps = [(v - largest).exp() for v in logits]
        total = sum(exps)
        return [e / total for e in exps]

    @staticmethod
    def cross_entropy(logits, target):
        return -PlainLoops.softmax(logits)[target].log()

    sum, take = staticmethod(sum), staticmethod(getitem)


class CompiledLoops:
    """The same functions, compiled: a node for each sum. Tokens may be the arguments of a compiled function."""

    dot, sum, softmax = microgradc.dot, microgradc.sum, microgradc.softmax
    cross_entropy, take = microgradc.cross_entropy, microgradc.take


class GPT:
    """A transformer: embedding, RMSNorm, causal multi-head attention, MLP; with Adam.

    Args:
        Value: the class of the engine.
        loops: PlainLoops or CompiledLoops.
        seed: an integer for the initial parameters, which are drawn from normal(0, 0.08).
    """

    def __init__(self, Value=Value, loops=PlainLoops, seed=42):
        self.loops = loops
        rng = random.Random(seed)

        def matrix(rows, columns):
            return [[Value(rng.gauss(0, 0.08)) for _ in range(columns)] for _ in range(rows)]

        self.wte, self.wpe = matrix(VOCAB_SIZE, N_EMBD), matrix(BLOCK_SIZE, N_EMBD)
        self.wq, self.wk, self.wv, self.wo = (matrix(N_EMBD, N_EMBD) for _ in range(4))
        self.fc1, self.fc2 = matrix(4 * N_EMBD, N_EMBD), matrix(N_EMBD, 4 * N_EMBD)
        self.head = matrix(VOCAB_SIZE, N_EMBD)
        matrices = self.wte, self.wpe, self.wq, self.wk, self.wv, self.wo, self.fc1, self.fc2, self.head
        self.parameters = [p for m in matrices for row in m for p in row]
        self.m = [0.0] * len(self.parameters)
        self.v = [0.0] * len(self.parameters)

    def linear(self, w, x):
        return [self.loops.dot(row, x) for row in w]

    def rmsnorm(self, x):
        scale = (self.loops.dot(x, x) / len(x) + 1e-5) ** -0.5
        return [xi * scale for xi in x]

    def logits(self, token, position, keys, values):
        """Return the logits of the next token. `keys` and `values` contain those of earlier positions; this one's are
        appended."""
        x = self.rmsnorm([t + p for t, p in zip(self.loops.take(self.wte, token), self.wpe[position], strict=True)])
        y = self.rmsnorm(x)
        q = self.linear(self.wq, y)
        keys.append(self.linear(self.wk, y))
        values.append(self.linear(self.wv, y))
        attended = []
        for h in range(0, N_EMBD, HEAD_DIM):
            part = slice(h, h + HEAD_DIM)
            scores = [self.loops.dot(q[part], k[part]) / HEAD_DIM**0.5 for k in keys]
            weights = self.loops.softmax(scores)
            attended += [self.loops.dot(weights, [v[h + j] for v in values]) for j in range(HEAD_DIM)]
        x = [a + b for a, b in zip(x, self.linear(self.wo, attended), strict=True)]
        hidden = [u.relu() for u in self.linear(self.fc1, self.rmsnorm(x))]
        x = [a + b for a, b in zip(x, self.linear(self.fc2, hidden), strict=True)]
        return self.linear(self.head, x)

    def loss(self, tokens):
        """Return the mean cross-entropy of all tokens but the first."""
        keys, values, losses = [], [], []
        for position, (token, target) in enumerate(pairwise(tokens)):
            losses.append(self.loops.cross_entropy(self.logits(token, position, keys, values), target))
        return self.loops.sum(losses) / len(losses)

    def adam(self, step, learning_rate, beta1=0.85, beta2=0.99, eps=1e-8):
        """Update the parameters, and set their gradients to 0. `step` counts from 0."""
        unbias1, unbias2 = 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)
        m, v = self.m, self.v
        for i, p in enumerate(self.parameters):
            g = p.grad
            m[i] = mi = beta1 * m[i] + (1 - beta1) * g
            v[i] = vi = beta2 * v[i] + (1 - beta2) * g * g
            p.data -= learning_rate * (mi / unbias1) / (sqrt(vi / unbias2) + eps)
            p.grad = 0.0

    def train(self, names, steps, learning_rate=0.01):
        """Take one step for each name in turn; yield each loss, a float."""
        for step in range(steps):
            loss = self.loss(tokens_of(names[step % len(names)]))
            loss.backward()
            self.adam(step, learning_rate * (1 - step / steps))
            yield loss.data

    def train_compiled(self, names, steps, learning_rate=0.01):
        """Do the same with a compiled loss, and with microgradc's optimizer and schedule."""
        loss_of = microgradc.compile(self.loss)
        optimizer = optim.Adam(self.parameters, lr=learning_rate, betas=(0.85, 0.99), eps=1e-8)
        schedule = optim.LinearLR(optimizer, start_factor=1, end_factor=0, total_iters=steps)
        for step in range(steps):
            loss = loss_of(tokens_of(names[step % len(names)]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield loss.data

    def sample(self, rng, temperature=0.5):
        """Invent a name."""
        token, keys, values, name = BOS, [], [], ""
        for position in range(BLOCK_SIZE):
            logits = [v.data / temperature for v in self.logits(token, position, keys, values)]
            largest = max(logits)
            token = rng.choices(range(VOCAB_SIZE), [exp(v - largest) for v in logits])[0]
            if token == BOS:
                break
            name += LETTERS[token]
        return name


def tokens_of(name):
    """Return the numbers of the letters of a name, between its beginning and its end."""
    return [BOS, *map(LETTERS.index, name), BOS][: BLOCK_SIZE + 1]


def load_names(seed=42):
    """Return the female first names of the US census of 1990, shuffled."""
    lines = files("names").joinpath("dist.female.first").read_text().splitlines()
    names = [line.split()[0].lower() for line in lines if line.strip()]
    random.Random(seed).shuffle(names)
    return names


def main(arguments):
    steps = next((int(a) for a in arguments if a.isdigit()), 1000)
    model, names = GPT(loops=PlainLoops if "--plain" in arguments else CompiledLoops), load_names()
    print(f"{len(names)} names, {len(model.parameters)} parameters")
    begin, recent = time.perf_counter(), []
    train = model.train_compiled if "--compiled" in arguments else model.train
    for step, loss in enumerate(train(names, steps), start=1):
        recent = [*recent[-99:], loss]
        if step % max(1, steps // 10) == 0:
            ms = (time.perf_counter() - begin) / step * 1e3
            print(
                f"step {step:5d}   loss {sum(recent) / len(recent):.3f} (mean of the last {len(recent)})   "
                f"{ms:.2f} ms a step"
            )
    rng = random.Random(1)
    with microgradc.no_grad():
        print("made up:", ", ".join(model.sample(rng) for _ in range(12)))


if __name__ == "__main__":
    main(sys.argv[1:])

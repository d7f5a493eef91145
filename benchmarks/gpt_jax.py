"""The GPT of examples/gpt.py in jax: arrays in place of scalars, and the whole step in one jitted function."""

from itertools import count, cycle

import numpy as np

MATRICES = "wte", "wpe", "wq", "wk", "wv", "wo", "fc1", "fc2", "head"


def begin_of(jax, gpt):
    """Return the parameters and what Adam keeps of them, at first."""
    jnp = jax.numpy
    model = gpt.GPT()
    parameters = {name: jnp.array([[p.data for p in row] for row in getattr(model, name)]) for name in MATRICES}
    return parameters, *jax.tree.map(jnp.zeros_like, (parameters, parameters))


def update_in(jax, gpt, rate_of, beta1=0.85, beta2=0.99, eps=1e-8):
    """Return a function that takes a step from parameters and state, with tokens; rate_of gives its learning rate."""
    jnp = jax.numpy

    def rmsnorm(x):
        return x * ((x * x).mean(axis=-1, keepdims=True) + 1e-5) ** -0.5

    def heads(w, x):
        return (x @ w.T).reshape(len(x), gpt.N_HEAD, gpt.HEAD_DIM)

    def loss_of(p, tokens):
        n = len(tokens) - 1
        x = rmsnorm(p["wte"][tokens[:-1]] + p["wpe"][:n])
        y = rmsnorm(x)
        scores = jnp.einsum("ihd,jhd->hij", heads(p["wq"], y), heads(p["wk"], y)) / gpt.HEAD_DIM**0.5
        weights = jax.nn.softmax(jnp.where(np.tri(n, dtype=bool), scores, -jnp.inf))
        attended = jnp.einsum("hij,jhd->ihd", weights, heads(p["wv"], y)).reshape(n, gpt.N_EMBD)
        x = attended @ p["wo"].T + x
        x = jax.nn.relu(rmsnorm(x) @ p["fc1"].T) @ p["fc2"].T + x
        logits = jax.nn.log_softmax(x @ p["head"].T)
        return -logits[np.arange(n), tokens[1:]].mean()

    def update(p, m, v, tokens, step):
        loss, g = jax.value_and_grad(loss_of)(p, tokens)
        m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, g)
        v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, g)
        rate, unbias1, unbias2 = rate_of(step), 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)
        p = jax.tree.map(lambda p, m, v: p - rate * (m / unbias1) / (jnp.sqrt(v / unbias2) + eps), p, m, v)
        return loss, p, m, v

    return update


def make_step(jax, gpt, names, steps, learning_rate=0.01):
    """Return what takes a step for each name in turn, names of one length, and returns the loss before it.

    Args:
        jax: the package, set up.
        gpt: the module of the example, whose parameters this one begins with.
    """
    update = jax.jit(update_in(jax, gpt, lambda step: learning_rate * (1 - step / steps)))
    parameters, m, v = begin_of(jax, gpt)
    numbers, tokens_of = count(), cycle([np.array(gpt.tokens_of(name)) for name in names])

    def take_step():
        nonlocal parameters, m, v
        results = update(parameters, m, v, next(tokens_of), float(next(numbers)))
        loss, parameters, m, v = jax.block_until_ready(results)
        return float(loss)

    return take_step


def make_scan(jax, gpt, tokens, learning_rate=0.01):
    """Return what takes a step for each row of tokens, in one `jax.lax.scan`."""
    update, begin = update_in(jax, gpt, lambda step: learning_rate), begin_of(jax, gpt)

    def step(carry, row):
        *state, number = carry
        loss, *state = update(*state, row, number)
        return (*state, number + 1), loss

    run = jax.jit(lambda carry, rows: jax.lax.scan(step, carry, rows)[1])
    rows = jax.numpy.array(tokens)
    return lambda: jax.block_until_ready(run((*begin, 0.0), rows))

"""Where a gradient is sent: what `take` does not take gets none at all, not even 0, in derivatives of any order.

0 times a derivative that is infinite, or none, is nan. So what is computed behind a `take` is not masked before it is
multiplied, but where it leaves for what receives from elsewhere too; by another `take`, for which the same holds.
"""

from __future__ import annotations

from microgradc.program.builders import Builder, Operand, Term, combined, total_of

__all__ = ["Condition", "gathered", "masked", "taken_at"]

# Where something is sent: for each `take` on the way an expression, whether a 0 or a 1 of it says so.
Condition = tuple[tuple[Operand, int], ...]


def masked(builder: Builder, x: Operand, condition: Condition) -> Operand:
    """Return x where the condition holds, else 0: an operation that sends nothing either where it does not hold."""
    for choice, number in reversed(condition):
        x = builder.add("take", choice, *((0.0, x) if number else (x, 0.0)))
    return x


def gathered(builder: Builder, received: list[tuple[Term, Condition]]) -> tuple[Operand, Condition]:
    """Return the sum of what one entry received, and where anything came: there alone is the sum of use.

    What is not sent may be anything, nan too; so it is masked before it is added to what is.
    """
    condition = received[0][1]
    if all(_is_one(condition, other) for _, other in received):
        return total_of(builder, [term for term, _ in received]), condition
    terms = [(masked(builder, total_of(builder, [term]), own), None) if own else term for term, own in received]
    condition = ()
    if all(own for _, own in received):
        anywhere = total_of(builder, [(masked(builder, 1.0, own), None) for _, own in received])
        condition = ((builder.add("where", anywhere, 1.0, 0.0), 1),)
    return total_of(builder, terms), condition


def _is_one(a: Condition, b: Condition) -> bool:
    """Return whether two conditions are the same: numbers of expressions in a graph, or Values."""
    return len(a) == len(b) and all(
        m == n and (x is y or (type(x) is int and x == y)) for (x, m), (y, n) in zip(a, b, strict=True)
    )


def taken_at(builder: Builder, x: list[Operand], i: int) -> tuple[Operand, int]:
    """Return where `take` takes its operand i, as conditions have it."""
    if len(x) == 3:
        return x[0], i - 1
    return builder.add("where", combined(builder, "sub", x[0], float(i - 1)), 1.0, 0.0), 0

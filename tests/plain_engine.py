"""A scalar engine in plain Python, for comparison: microgradc's nodes in the form of the one-file GPT, children and
local gradients."""

import math


class Value:
    __slots__ = ("children", "data", "grad", "local_grads")

    def __init__(self, data, children=(), local_grads=()):
        self.data = data
        self.grad = 0.0
        self.children = children
        self.local_grads = local_grads

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1, 1))

    def __sub__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data - other.data, (self, other), (1, -1))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __truediv__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        f = self.data / other.data
        return Value(f, (self, other), (1 / other.data, -f / other.data))

    def __pow__(self, n):
        return Value(self.data**n, (self,), (n * self.data ** (n - 1),))

    def __neg__(self):
        return Value(-self.data, (self,), (-1,))

    def __radd__(self, other):
        return self + other

    def exp(self):
        f = math.exp(self.data)
        return Value(f, (self,), (f,))

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def relu(self):
        return Value(max(0.0, self.data), (self,), (float(self.data > 0),))

    def backward(self):
        order, stack, entered = [], [(self, False)], set()
        while stack:
            node, leaving = stack.pop()
            if leaving:
                order.append(node)
            elif node not in entered:
                entered.add(node)
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(node.children))
        self.grad = 1.0
        for node in reversed(order):
            for child, local_grad in zip(node.children, node.local_grads):  # noqa: B905
                child.grad += local_grad * node.grad

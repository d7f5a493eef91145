# What projects that follow micrograd pass to Value. Included by value.pyx. Changes with what is taken, and what is said
# of the rest.

cdef dict OTHER_ARGUMENTS = {
    "requires_grad": "every Value has a gradient: leave a weight that is not to be learnt out of what the optimizer is "
                     "given, compute within no_grad(), or use a plain number",
    "_prev": "the operands are _children here", "prev": "the operands are _children here",
    "children": "the operands are _children here", "parents": "the operands are _children here",
    "op": "the operation's name is _op here", "_label": "the name is label here", "name": "the name is label here",
    "value": "the number is data here", "x": "the number is data here",
    "grad": "a gradient is set afterwards, v.grad = ...",
    "dtype": "numbers are C doubles here",
    "_local_grads": "local gradients are given in the place of _op, Value(data, children, local_grads)",
    "local_grads": "local gradients are given in the place of _op, Value(data, children, local_grads)",
    "_backward": "it is assigned afterwards, v._backward = ...",
}


cdef int check_names "mgc_check_names"(names) except -1:
    """Raise the TypeError of an argument that Value does not have; names are a tuple or a dict."""
    for name in names:
        if name not in ("data", "_children", "_op", "label"):
            raise TypeError(f"Value has no argument {name!r}: {OTHER_ARGUMENTS.get(name) or which_is_meant(name)}")
    return 0


cdef str which_is_meant(name):
    from difflib import get_close_matches

    meant = get_close_matches(name, ("data", "_children", "_op", "label"), 1)
    return f"did you mean {meant[0]!r}?" if meant else "it takes data, _children, _op and label"


cdef int label_value "mgc_set_label"(value, label) except -1:
    """Give a new Value its label, a str."""
    return set_label(<Value>value, label) if label else 0


cdef tuple label_first(str name, second, third):
    """The label, the children and the operation of Value(data, label, children, op)."""
    if type(second) is str:     # there are no children
        second, third = third, second
        if second != "":
            raise TypeError(f"the label of a Value is given once, got {name!r} in the second place and {second!r}")
        return name, (), third
    return name, second, third

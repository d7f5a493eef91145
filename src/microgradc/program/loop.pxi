# Loops of graphs: what one iteration does, and how often. Included by graph.pyx.


cdef enum:
    DEEPEST = 64        # each takes a part of the stack when it is run


cdef class Loop:
    """What a `scan` repeats: a graph, the body, and how it is fed.

    The inputs of the body are the carries, and then the xs of an iteration; its parameters are what it takes from the
    graph around, the same in all iterations. Its outputs are the next carries; then the ys; and if `ends`, one that is
    not 0 where, with these carries, no iteration is left.

    Args:
        body: a Graph.
        length: how many iterations there are at most, at least 1.
        carries, xs: how many there are; both are inputs of the body.
        ends: whether the last output says that no iteration is left.
        keeps_all: whether the way back is to find the carries of each iteration; else of about one in sqrt(length), and
            the others are computed again.

    Attributes:
        ys: how many ys an iteration has.

    Raises:
        ValueError: the numbers do not fit together.
    """

    def __init__(self, Graph body not None, int length, int carries, int xs, bint ends=False, bint keeps_all=True):
        cdef int outputs = body.output_list.count
        if self.body is not None:
            raise TypeError("a Loop is made once; make a new one")
        self.depth = 1 + max([(<Loop>inner).depth for inner in body.loop_list], default=0)
        if self.depth > DEEPEST:
            raise ValueError(f"loops may be within at most {DEEPEST - 1} others, got {self.depth}")
        if length < 1 or carries < 0 or xs < 0:
            raise ValueError(f"length must be at least 1, carries and xs at least 0, got {length}, {carries}, {xs}")
        if body.input_count - carries != xs:
            raise ValueError(f"the body must have {carries} + {xs} inputs, got {body.input_count}")
        if outputs < carries + ends:
            raise ValueError(f"the body must have an output for each of {carries} carries"
                             f"{', and one that ends the loop' if ends else ''}, got {outputs}")
        if <double>length * (xs + outputs) > (1 << 30):
            raise ValueError(f"a loop may have some 10^9 xs and ys, got {length:,} times {xs + outputs}")
        self.body, self.length, self.carries, self.xs = body, length, carries, xs
        self.ys, self.ends, self.keeps_all = outputs - carries - ends, ends, keeps_all
        body.is_body = True

    def __reduce__(self):
        return Loop, (self.body, self.length, self.carries, self.xs, self.ends, self.keeps_all)

    cdef tuple settings(self):
        return self.body, self.length, self.carries, self.xs, self.ends, self.keeps_all

    def __eq__(self, other):
        return self.settings() == (<Loop>other).settings() if isinstance(other, Loop) else NotImplemented

    def __hash__(self):
        if not self.has_hash:      # the body stays as it is
            self.hash, self.has_hash = hash(self.settings()), True
        return self.hash

    def __repr__(self):
        if self.body is None:
            return "<Loop: not made yet>"
        until = ", until its last output" if self.ends else ""
        return f"<Loop: {self.length} iterations of {self.carries} carries, {self.xs} xs, {self.ys} ys{until}>"

    def _repr_html_(self):
        return in_a_cell(page_of_loop, self)

    def values(self, list operands not None) -> list:
        """Return the results for numbers or Values: one operation of the engine after another.

        Args:
            operands: see `Graph.scan`.
        """
        cdef int t, first = self.carries + self.length * self.xs
        cdef list carry = operands[:self.carries], captured = operands[first:], ys = []
        require_operands_of_loop(self, len(operands))
        for t in range(self.length):
            xs = operands[self.carries + t * self.xs:self.carries + (t + 1) * self.xs]
            made = self.body.values([*carry, *xs], captured)
            ys += made[self.carries:self.carries + self.ys]
            if not self.ends or number_of(made[len(made) - 1]) == 0:
                carry = made[:self.carries]
        return carry + ys


cdef int require_loop(object loop) except -1:
    if not isinstance(loop, Loop) or (<Loop>loop).body is None:
        raise ValueError(f"a loop must be a Loop, made by Loop(body, …), got {type(loop).__name__}")
    return 0


cdef object number_of(object x):
    return x.data if isinstance(x, Value) else x


cdef int require_operands_of_loop(Loop loop, Py_ssize_t count) except -1:
    cdef int expected
    require_loop(loop)
    expected = loop.carries + loop.length * loop.xs + loop.body.parameter_count
    if count != expected:
        raise ValueError(f"the loop takes {expected} operands: {loop.carries} carries, {loop.length} times {loop.xs} "
                         f"xs, and {loop.body.parameter_count} others; got {count}")
    return 0


cdef list passed_loops(int which, Graph graph, list loops):
    """The loops of a graph that a pass has made: their bodies, passed, now that it is known what varies in them."""
    cdef list made = list(loops)
    cdef Graph body
    cdef Loop loop
    cdef int e, i, first
    cdef const int *operands
    cdef bytearray varies
    for e in range(graph.g.count):
        if graph.g.op[e] != MGC_SCAN:
            continue
        loop = loops[graph.g.payload[e]]
        operands = mgc_operands_of(&graph.g, e)
        first = loop.carries + loop.length * loop.xs
        varies = bytearray(loop.body.parameter_count)
        for i in range(loop.body.parameter_count):
            varies[i] = graph.g.varies[operands[first + i]]
        body = passed(which, loop.body, NULL, 0, loop.body.parameter_count, bytes(varies))
        made[graph.g.payload[e]] = Loop(body, loop.length, loop.carries, loop.xs, loop.ends, loop.keeps_all)
    return made


def body_of(list outputs not None, list inputs not None) -> tuple:
    """Return what a function does as the body of a loop.

    Args:
        outputs: Values and floats.
        inputs: leaves that it was called with.

    Returns:
        A Graph; and the Values from outside that it uses, its parameters, in their order. What was computed without the
        inputs is outside.
    """
    cdef Graph temporary = Graph(), body = Graph()
    cdef list leaves = [], captured = [], values = [output for output in outputs if isinstance(output, Value)]
    cdef list found = []
    cdef mgc_numbering all_places, places
    cdef bytes depends
    cdef Value v
    memset(&all_places, 0, sizeof(all_places))
    memset(&places, 0, sizeof(places))
    try:
        for leaf in inputs:
            if (mgc_set_number(&all_places, &(<Value>leaf).node, temporary.input()) < 0
                    or mgc_set_number(&places, &(<Value>leaf).node, body.input()) < 0):
                raise no_memory()
        for v in values:
            record_one(temporary, &v.node, &all_places, leaves, NULL, NULL)
        depends = depends_on_inputs(&temporary.g)
        for v in values:
            record_one(body, &v.node, &places, captured, &all_places, depends)
        for output in outputs:
            found.append(mgc_number_of(&places, &(<Value>output).node) if isinstance(output, Value)
                         else body.constant(output))
        body.outputs = found
        require_indices(&body.g, True)
        mgc_trim_graph(&body.g)
    finally:
        mgc_free_numbering(&all_places)
        mgc_free_numbering(&places)
    return body, captured


cdef bytes depends_on_inputs(const mgc_graph *g):
    """For each expression whether it was made from an input."""
    cdef bytearray depends = bytearray(g.count)
    cdef int e, i
    for e in range(g.count):
        depends[e] = g.op[e] == MGC_INPUT
        for i in range(mgc_operands_in(g, e)):
            depends[e] |= depends[mgc_operands_of(g, e)[i]]
    return bytes(depends)

# cython: boundscheck=True, wraparound=True
"""Graph: what a function does, as flat arrays that can be printed, walked, compared and pickled; and passes over it."""

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.math cimport fabs, isfinite
from libc.string cimport memcpy, memset

from microgradc.engine.value cimport *

from collections import namedtuple

from microgradc.cells import in_a_cell
from microgradc.engine.value import TABLE, CompileError, IntegerInput
from microgradc.program.in_cells import page_of_graph, page_of_loop

cdef extern from "program/graph.h":
    ctypedef struct mgc_numbering:
        pass
    void mgc_free_graph(mgc_graph *)
    void mgc_trim_graph(mgc_graph *)
    int mgc_push(mgc_ints *, int)
    void mgc_free_ints(mgc_ints *)
    int mgc_add(mgc_graph *, int op, const int *operands, int count, uint64_t payload)
    int mgc_add_constant(mgc_graph *, double)
    bint mgc_equal_graphs(const mgc_graph *, const mgc_graph *)
    uint64_t mgc_mix(uint64_t)
    uint64_t mgc_hash_of(int op, const int *operands, int count, uint64_t payload)
    int mgc_number_of(const mgc_numbering *, const void *)
    int mgc_set_number(mgc_numbering *, const void *, int)
    void mgc_free_numbering(mgc_numbering *)

cdef extern from "program/known.h":
    ctypedef struct mgc_leaf:
        double number
        bint is_known
        int parameter
    int mgc_know(const mgc_graph *, const mgc_leaf *, int leaf_count, mgc_graph *, int *place) except? -1

cdef extern from "program/simplify.h":
    ctypedef struct mgc_rule:
        int op
        const char *name
        const char *reason
    enum:
        MGC_RULES
    const mgc_rule *mgc_rules
    int mgc_simplify(const mgc_graph *, mgc_graph *, int *place) except? -1

cdef extern from "program/sums.h":
    int mgc_sum_up(const mgc_graph *, const int *outputs, int output_count, mgc_graph *, int *place) except? -1

__all__ = ["RULES", "Expression", "Graph", "known", "simplify", "sums"]

cdef enum:
    CHECK_SIGNALS_EVERY = 1 << 16   # nodes; some milliseconds

NAMES = {MGC_CONSTANT: "constant", MGC_PARAMETER: "parameter", MGC_INPUT: "input"}
for _i, _row in enumerate(TABLE, 1):
    NAMES[_i] = _row.name.lower()
for _i in range(MGC_CUSTOM - MGC_TABLE_END):
    NAMES[MGC_TABLE_END + _i] = mgc_wide_ops[_i].decode()
for _i in range(MGC_OPS_END, MGC_GRAPH_OPS_END):
    NAMES[_i] = mgc_kinds[_i].name.decode()
cdef dict NUMBERS = {name: op for op, name in NAMES.items()}

RULES = [(mgc_rules[i].name.decode(), op_name(mgc_rules[i].op), mgc_rules[i].reason.decode()) for i in range(MGC_RULES)]
"""The rules of `simplify`: what each is for, its operation, and its reason."""

Expression = namedtuple("Expression", "op operands number")
Expression.__doc__ = """An expression of a graph.

Attributes:
    op: the name of its operation; 'constant', 'input' or 'parameter' for one that has no operands.
    operands: the places of its operands, all before its own.
    number: of a constant its number, of an input or parameter which one it is; else None.
"""


cdef object op_name(int op):
    return NAMES[op]


cdef object no_memory():
    return MemoryError("no memory for a graph")


cdef int checked(int e) except -1:
    if e < 0:
        raise no_memory()
    return e


cdef str line_of(Graph graph, int e, int most):
    """An expression in a line, with so many of its operands at most."""
    cdef int i, op = graph.g.op[e], count = mgc_operands_in(&graph.g, e)
    cdef const int *operands = mgc_operands_of(&graph.g, e)
    what = ", ".join([f"%{operands[i]}" for i in range(min(count, most))])
    if count > most:
        what += f", … {count - most:,} more"
    if op == MGC_CONSTANT:
        what = repr(mgc_constant_of(&graph.g, e))
    elif op < 0:
        what = repr(graph.g.payload[e])
    elif op == MGC_SCAN or op == MGC_RESULT:
        what = f"{graph.g.payload[e]} of {what}"
    return f"%{e} = {NAMES[op]} {what}"


cdef class Graph:
    """A function as a list of expressions, each once and after its operands.

    Inputs vary with the example; parameters do not. `print(graph)` shows a line for each expression, `graph[i]` and
    iteration give them as `Expression`. Equal graphs have equal hashes; a graph that is in a set or dict must not be
    added to.

    Attributes:
        input_count, parameter_count: how many there are.
        outputs: the places of what the function returns, a tuple.

    >>> g = Graph()
    >>> x, w = g.input(), g.parameter()
    >>> g.outputs = [g.add("tanh", g.add("mul", x, w))]
    >>> print(g)
    %0 = input 0
    %1 = parameter 0
    %2 = mul %0, %1
    %3 = tanh %2
    return %3
    """

    def __cinit__(self):
        self.loop_list = []

    def __dealloc__(self):
        mgc_free_graph(&self.g)
        mgc_free_ints(&self.output_list)
        PyMem_Free(self.loops)

    def input(self) -> int:
        """Add the next input; return its place."""
        self.require_no_body()
        self.input_count += 1
        return checked(mgc_add(&self.g, MGC_INPUT, NULL, 0, self.input_count - 1))

    def parameter(self) -> int:
        """Add the next parameter; return its place."""
        self.require_no_body()
        self.parameter_count += 1
        return checked(mgc_add(&self.g, MGC_PARAMETER, NULL, 0, self.parameter_count - 1))

    def constant(self, double x) -> int:
        """Add a constant; return its place."""
        self.require_no_body()
        return checked(mgc_add_constant(&self.g, x))

    def add(self, str op not None, *operands) -> int:
        """Add an operation; return its place, which is that of an equal one if there is one.

        Args:
            op: its name, as `Expression.op` has it.
            operands: the places of its operands.

        Raises:
            ValueError: there is no such operation, or it takes another number of operands.
            IndexError: an operand is not in the graph.
        """
        cdef int number = NUMBERS.get(op, MGC_CONSTANT)
        self.require_no_body()
        if number < 0 or number == MGC_SCAN or number == MGC_RESULT:
            operations = [name for name in NUMBERS if name and NUMBERS[name] >= 0 and name not in ("scan", "result")]
            raise ValueError(f"op must be an operation, one of {', '.join(operations)}, got {op!r:.60}")
        check_operand_count(op, number, len(operands))
        cdef mgc_ints list_of
        list_of.items, list_of.count, list_of.capacity = NULL, 0, 0
        try:
            fill_places(&list_of, operands, &self.g)
            return checked(mgc_add(&self.g, number, list_of.items, list_of.count, 0))
        finally:
            PyMem_Free(list_of.items)

    def scan(self, Loop loop not None, *operands) -> list:
        """Add a loop; return the places of its results: the carries in the end, and then the ys of each iteration.

        Args:
            loop: a Loop.
            operands: places: what the carries begin with; the xs of the first iteration, of the second, …; what the
                body has for parameters.

        Raises:
            ValueError: the loop takes another number of operands.
            IndexError: an operand is not in the graph.
        """
        cdef mgc_ints list_of
        cdef int scan, i
        cdef list results = []
        list_of.items, list_of.count, list_of.capacity = NULL, 0, 0
        self.require_no_body()
        require_operands_of_loop(loop, len(operands))
        try:
            fill_places(&list_of, operands, &self.g)
            scan = checked(mgc_add(&self.g, MGC_SCAN, list_of.items, list_of.count, self.add_loop(loop)))
            for i in range(loop.carries + loop.length * loop.ys):
                results.append(checked(mgc_add(&self.g, MGC_RESULT, &scan, 1, i)))
        finally:
            PyMem_Free(list_of.items)
        return results

    cdef int add_loop(self, Loop loop) except -1:
        """Add a loop that a scan is to have; return which one it is."""
        self.set_loops([*self.loop_list, loop])
        return len(self.loop_list) - 1

    cdef int set_loops(self, list loops) except -1:
        cdef mgc_graph_loop *to
        cdef Loop loop
        to = <mgc_graph_loop *>PyMem_Malloc((len(loops) + 1) * sizeof(mgc_graph_loop))
        if to == NULL:
            raise no_memory()
        for i, entry in enumerate(loops):
            loop = entry
            to[i].body, to[i].outputs = &loop.body.g, loop.body.output_list.items
            to[i].length, to[i].carries, to[i].xs, to[i].ys = loop.length, loop.carries, loop.xs, loop.ys
            to[i].captured, to[i].ends, to[i].keeps_all = loop.body.parameter_count, loop.ends, loop.keeps_all
        PyMem_Free(self.loops)
        self.loop_list, self.loops = loops, to
        self.g.loops, self.g.loop_count = to, len(loops)
        return 0

    cdef int require_no_body(self) except -1:
        if self.is_body:
            raise ValueError("the graph is the body of a loop, which relies on what it is; copy.copy gives another one")
        return 0

    @property
    def outputs(self) -> tuple:
        return tuple([self.output_list.items[i] for i in range(self.output_list.count)])

    @outputs.setter
    def outputs(self, places):
        self.require_no_body()
        cdef mgc_ints list_of
        list_of.items, list_of.count, list_of.capacity = NULL, 0, 0
        try:
            fill_places(&list_of, tuple(places), &self.g)
            list_of, self.output_list = self.output_list, list_of
        finally:
            PyMem_Free(list_of.items)

    def __len__(self):
        return self.g.count

    def __getitem__(self, Py_ssize_t i):
        if not 0 <= i < self.g.count:
            raise IndexError(f"the graph has {self.g.count} expressions, got {i}")
        cdef int e = <int>i, op = self.g.op[e]
        cdef bint has_number = op < 0 or op == MGC_SCAN or op == MGC_RESULT
        number = mgc_constant_of(&self.g, e) if op == MGC_CONSTANT else self.g.payload[e] if has_number else None
        operands = mgc_operands_of(&self.g, e)
        return Expression(NAMES[op], tuple([operands[j] for j in range(mgc_operands_in(&self.g, e))]), number)

    def __iter__(self):
        return iter([self[i] for i in range(self.g.count)])

    def __str__(self):
        cdef int e
        lines = []
        for i, loop in enumerate(self.loop_list):
            lines.append(f"loop {i}, {loop!r:s}:")
            lines += [f"    {line}" for line in str((<Loop>loop).body).splitlines()]
        for e in range(self.g.count):
            lines.append(line_of(self, e, self.g.operands.count))
        return "\n".join([*lines, "return " + ", ".join([f"%{x}" for x in self.outputs])])

    def first_lines(self, int most) -> list:
        """Return the lines of so many expressions, as `str` has them, but with so many operands at most."""
        cdef int e
        return [line_of(self, e, most) for e in range(min(most, self.g.count))]

    def _repr_html_(self):
        return in_a_cell(page_of_graph, self)

    def __repr__(self):
        return (f"<Graph: {self.g.count} expressions, {self.input_count} inputs, {self.parameter_count} parameters, "
                f"{self.output_list.count} outputs>")

    def __eq__(self, other):
        if not isinstance(other, Graph):
            return NotImplemented
        cdef Graph g = other
        return (self.input_count == g.input_count and self.parameter_count == g.parameter_count
                and mgc_equal_graphs(&self.g, &g.g) and self.outputs == g.outputs
                and self.loop_list == g.loop_list)

    def __hash__(self):
        cdef uint64_t h = mgc_mix(self.g.count)
        cdef int e
        for e in range(self.g.count):
            h = mgc_mix(h + mgc_hash_of(self.g.op[e], mgc_operands_of(&self.g, e), mgc_operands_in(&self.g, e),
                                        self.g.payload[e]))
        return hash((h, self.outputs, self.input_count, self.parameter_count, tuple(self.loop_list)))

    @property
    def all_loops(self) -> tuple:
        """The loops, by the number of a scan."""
        return tuple(self.loop_list)

    def __reduce__(self):
        return graph_of, flat(self)

    def values(self, inputs, parameters) -> list:
        """Return the outputs for numbers or Values in the places of inputs and parameters: Values, made by the engine.

        Args:
            inputs, parameters: lists of them.

        Raises:
            ValueError: there is another number of them.
        """
        inputs, parameters = list(inputs), list(parameters)
        for name, given, count in (("inputs", inputs, self.input_count),
                                   ("parameters", parameters, self.parameter_count)):
            if len(given) != count:
                raise ValueError(f"{name} must be {count} numbers or Values, got {len(given)}")
        found = []
        for op, operands, number in self:
            x = [found[x] for x in operands]
            if op == "scan":
                found.append((<Loop>self.loop_list[number]).values(x))
            elif op == "result":
                found.append(x[0][number])
            else:
                found.append(value_of(op, x, number, inputs, parameters))
        return [found[x] for x in self.outputs]


cdef int fill_places(mgc_ints *to, tuple places, const mgc_graph *g) except -1:
    for x in places:
        if not isinstance(x, int) or not 0 <= x < g.count:
            raise IndexError(f"a place must be one of the {g.count} expressions in the graph, got {x!r:.40}")
        if g.op[<int>x] == MGC_SCAN:
            raise ValueError(f"place {x} is a loop, which has no number of its own; take one of its results")
        if mgc_push(to, x) < 0:
            raise no_memory()
    return 0


cdef int check_operand_count(str op, int number, Py_ssize_t count) except -1:
    if number < MGC_TABLE_END:
        right, expected = count == mgc_rows[number].operands, f"{mgc_rows[number].operands}"
    elif mgc_kinds[number].name != NULL:
        right, expected = mgc_can_have(&mgc_kinds[number], count), mgc_kinds[number].form.decode()
    else:
        right, expected = count >= 1, "at least 1"
    if not right:
        raise ValueError(f"{op} takes {expected} operands, got {count}")
    return 0


include "flat.pxi"
include "loop.pxi"


cdef object value_of(str op, list x, number, list inputs, list parameters):
    """The value of an expression, by the engine."""
    from microgradc.engine import functions
    if op == "constant":
        return Value(number)
    if op == "input":
        return inputs[number]
    if op == "parameter":
        return parameters[number]
    if op == "products":
        return functions.dot(x[::2], x[1::2])
    if op == "dense":
        k = len(x) // 2
        return functions.dot(x[k:2 * k], x[:k], x[2 * k])
    if op == "dot":
        return functions.dot(x[:len(x) // 2 * 2:2], x[1::2], x[-1] if len(x) % 2 else None)
    if op in ("sum", "mean", "logsumexp"):
        return getattr(functions, op)(x)
    if op == "take" and isinstance(x[0], IntegerInput):     # while another function is recorded
        return functions.take(x[1:], x[0])
    if op in ("take", "cross_entropy"):
        i = int(x[0].data if isinstance(x[0], Value) else x[0])
        return x[i + 1] if op == "take" else functions.logsumexp(x[1:]) - x[i + 1]
    if len(x) == 1:
        return unary(NUMBERS[op], x[0] if isinstance(x[0], Value) else Value(x[0]))
    if len(x) == 2:
        return pair(NUMBERS[op], x[0], x[1], "x", "y")
    return ternary(NUMBERS[op], x[0], x[1], x[2], ("x", "y", "z"))


include "nodes.pxi"


# Passes

cdef enum:
    KNOWN, SIMPLIFY, SUMS

cdef Graph passed(int which, Graph graph, const mgc_leaf *leaves, int leaf_count, int parameter_count,
                  bytes parameter_varies=None):
    """The graph that a pass makes of another one; of the body of a loop, with the parameters that vary."""
    cdef Graph to = Graph()
    if parameter_varies is not None:
        to.parameter_varies, to.g.parameter_varies = parameter_varies, parameter_varies
    cdef int *place = <int *>PyMem_Malloc((graph.g.count + 1) * sizeof(int))
    cdef int i, failed
    if place == NULL:
        raise no_memory()
    try:
        for i in range(graph.output_list.count):     # a handler of signals may give the graph other outputs
            if mgc_push(&to.output_list, graph.output_list.items[i]) < 0:
                raise no_memory()
        if which == KNOWN:
            failed = mgc_know(&graph.g, leaves, leaf_count, &to.g, place)
        elif which == SIMPLIFY:
            failed = mgc_simplify(&graph.g, &to.g, place)
        else:
            failed = mgc_sum_up(&graph.g, to.output_list.items, to.output_list.count, &to.g, place)
        if failed < 0:
            raise no_memory()
        for i in range(to.output_list.count):
            to.output_list.items[i] = place[to.output_list.items[i]]
    finally:
        PyMem_Free(place)
    to.input_count, to.parameter_count = graph.input_count, parameter_count
    mgc_trim_graph(&to.g)
    PyErr_CheckSignals()
    if graph.loop_list:
        to.set_loops(passed_loops(which, to, graph.loop_list))
    return to


cpdef Graph known(Graph graph, list numbers):
    """Return a graph in which some parameters are constants; the others are counted anew.

    Args:
        graph: a Graph.
        numbers: for each parameter its number, or None for one that stays.

    Raises:
        ValueError: there is another number of them.
    """
    cdef int i, count = graph.parameter_count, left = 0
    cdef mgc_leaf *leaves
    if len(numbers) != count:
        raise ValueError(f"numbers must have {count} entries, one for each parameter, got {len(numbers)}")
    leaves = <mgc_leaf *>PyMem_Malloc((count + 1) * sizeof(mgc_leaf))
    if leaves == NULL:
        raise no_memory()
    try:
        for i in range(count):
            number = numbers[i]
            leaves[i].is_known, leaves[i].parameter = number is not None, left
            leaves[i].number = number if leaves[i].is_known else 0
            left += not leaves[i].is_known
        return passed(KNOWN, graph, leaves, count, left)
    finally:
        PyMem_Free(leaves)


cpdef Graph simplify(Graph graph):
    """Return a graph with the same values and gradients, of cheaper operations: see `RULES`.

    Expressions that nobody needs any more stay in it.
    """
    return passed(SIMPLIFY, graph, NULL, 0, graph.parameter_count)


cpdef Graph sums(Graph graph):
    """Return a graph in which each sum is one expression: 'products', a sum of products of pairs, or 'dense', one of
    rows with weights. Terms are added in the order in which they were written. What no output needs is left out."""
    return passed(SUMS, graph, NULL, 0, graph.parameter_count)

# Graphs as a few flat arrays and names of operations: for pickles and files. Included by graph.pyx.

from cpython cimport array

from array import array as new_array

cdef array.array INTS = new_array("i"), DOUBLES = new_array("d")     # what `array.clone` makes others of


def flat(Graph graph not None) -> tuple:
    """Return a graph as arrays, which `graph_of` takes as its arguments.

    Returns:
        input_count, parameter_count: how many there are.
        names: those of the operations that there are in it, a tuple.
        ops: for each expression, which of the names it has.
        counts: how many operands each has.
        operands: the operands of all, one after another.
        leaves: for each input, parameter, loop and result of one, in the order of their places, which one it is.
        constants: the number of each constant, in the order of their places.
        outputs: the places of what the function returns.
        loops: a Loop for each number of a `scan`, a list.
    """
    cdef mgc_graph *g = &graph.g
    cdef int e, op, leaf_count = 0, constant_count = 0
    cdef dict codes = {}
    for e in range(g.count):
        leaf_count += is_numbered(g.op[e])
        constant_count += g.op[e] == MGC_CONSTANT
    cdef array.array ops = array.clone(INTS, g.count, False), counts = array.clone(INTS, g.count, False)
    cdef array.array operands = array.clone(INTS, g.operands.count, False)
    cdef array.array leaves = array.clone(INTS, leaf_count, False)
    cdef array.array constants = array.clone(DOUBLES, constant_count, False)
    leaf_count = constant_count = 0
    for e in range(g.count):
        if e % CHECK_SIGNALS_EVERY == 0:
            PyErr_CheckSignals()
        op = g.op[e]
        ops.data.as_ints[e] = codes.setdefault(NAMES[op], len(codes))
        counts.data.as_ints[e] = mgc_operands_in(g, e)
        if op == MGC_CONSTANT:
            constants.data.as_doubles[constant_count] = mgc_constant_of(g, e)
            constant_count += 1
        elif is_numbered(op):
            leaves.data.as_ints[leaf_count] = <int>g.payload[e]
            leaf_count += 1
    if g.operands.count:
        memcpy(operands.data.as_ints, g.operands.items, g.operands.count * sizeof(int))
    return (graph.input_count, graph.parameter_count, tuple(codes), ops, counts, operands, leaves, constants,
            new_array("i", graph.outputs), graph.loop_list)


cdef inline bint is_numbered(int op) noexcept:
    """Whether an expression has a number besides its operands, which is no constant's."""
    return op == MGC_INPUT or op == MGC_PARAMETER or op == MGC_SCAN or op == MGC_RESULT


def graph_of(int input_count, int parameter_count, tuple names not None, array.array ops not None,
             array.array counts not None, array.array operands not None, array.array leaves not None,
             array.array constants not None, array.array outputs not None, list loops not None=[]) -> Graph:
    """Return the graph that `flat` returned these of. All of it is checked.

    Raises:
        ValueError: they are not those of a graph; the message says what is wrong.
    """
    cdef Graph graph = Graph()
    cdef int e, i, op, count, made, code, first = 0, leaf = 0, constant = 0, expressions = len(ops)
    cdef int last_input = -1, last_parameter = -1
    cdef int *before
    cdef list numbers = [number_of_op(name) for name in names]
    cdef int *places = operands.data.as_ints
    for name, given, code in (("ops", ops, c"i"), ("counts", counts, c"i"), ("operands", operands, c"i"),
                              ("leaves", leaves, c"i"), ("constants", constants, c"d"), ("outputs", outputs, c"i")):
        if (<array.array>given).ob_descr.typecode != code:
            raise ValueError(f"{name} must be an array of {'doubles' if code == c'd' else 'ints'}")
    if input_count < 0 or parameter_count < 0 or len(counts) != expressions:
        raise ValueError(f"counts must be those of {expressions} expressions, got {len(counts)}")
    for i in range(len(loops)):
        require_loop(loops[i])
    graph.set_loops(list(loops))
    for e in range(expressions):
        if e % CHECK_SIGNALS_EVERY == 0:
            PyErr_CheckSignals()
        code, count = ops.data.as_ints[e], counts.data.as_ints[e]
        if not 0 <= code < len(numbers):
            raise ValueError(f"expression {e} must have one of {len(numbers)} operations, got number {code}")
        op = numbers[code]
        if not 0 <= count <= len(operands) - first:
            raise ValueError(f"expression {e} must have some of the {len(operands) - first} operands that are left, "
                             f"got {count}")
        for i in range(first, first + count):
            if not 0 <= places[i] < e:
                raise ValueError(f"the operands of expression {e} must be expressions before it, got {places[i]}")
            if graph.g.op[places[i]] == MGC_SCAN and op != MGC_RESULT:
                raise ValueError(f"operand {places[i]} of expression {e} is a loop; it must be one of its results")
        if op == MGC_SCAN or op == MGC_RESULT:
            i = leaves.data.as_ints[next_of(&leaf, len(leaves), names[code])]
            require_part_of_loop(graph, e, op, i, places + first, count)
            made = mgc_add(&graph.g, op, places + first, count, i)
        elif op >= 0:
            check_operand_count(names[code], op, count)
            made = mgc_add(&graph.g, op, places + first, count, 0)
        elif count:
            raise ValueError(f"expression {e}, {names[code]}, must have no operands, got {count}")
        elif op == MGC_CONSTANT:
            i = next_of(&constant, len(constants), names[code])
            made = mgc_add_constant(&graph.g, constants.data.as_doubles[i])
        else:
            i = leaves.data.as_ints[next_of(&leaf, len(leaves), names[code])]
            count = input_count if op == MGC_INPUT else parameter_count
            if not 0 <= i < count:
                raise ValueError(f"expression {e} must be one of {count} {names[code]}s, got {i}")
            before = &last_input if op == MGC_INPUT else &last_parameter
            if i <= before[0]:
                raise ValueError(f"expression {e} must be one of the {names[code]}s after {before[0]}, got {i}")
            before[0], count = i, 0
            made = mgc_add(&graph.g, op, NULL, 0, i)
        if checked(made) != e:
            raise ValueError(f"expression {e} is the same as expression {made}")
        first += count
    for name, used, there in (("operands", first, len(operands)), ("leaves", leaf, len(leaves)),
                              ("constants", constant, len(constants))):
        if used != there:
            raise ValueError(f"the expressions have {used} {name}, got {there}")
    for i in range(len(outputs)):
        if not 0 <= outputs.data.as_ints[i] < expressions:
            raise ValueError(f"an output must be one of {expressions} expressions, got {outputs.data.as_ints[i]}")
        if graph.g.op[outputs.data.as_ints[i]] == MGC_SCAN:
            raise ValueError(f"output {outputs.data.as_ints[i]} is a loop; it must be one of its results")
        if mgc_push(&graph.output_list, outputs.data.as_ints[i]) < 0:
            raise no_memory()
    graph.input_count, graph.parameter_count = input_count, parameter_count
    mgc_trim_graph(&graph.g)
    return graph


cdef int require_part_of_loop(Graph graph, int e, int op, int which, const int *operands, int count) except -1:
    """Raise ValueError unless this is a scan with what its loop takes, or a result of one."""
    cdef const mgc_graph_loop *loop
    cdef int limit = graph.g.loop_count, scan
    if op == MGC_RESULT:
        if count != 1 or graph.g.op[operands[0]] != MGC_SCAN:
            raise ValueError(f"expression {e} is a result, so it must have one operand, a scan")
        limit = mgc_results_of(&graph.g.loops[graph.g.payload[operands[0]]])
    if not 0 <= which < limit:
        raise ValueError(f"expression {e} must be one of {limit} {'results' if op == MGC_RESULT else 'loops'}, "
                         f"got {which}")
    if op == MGC_SCAN:
        loop = &graph.g.loops[which]
        if count != mgc_first_captured(loop) + loop.captured:
            raise ValueError(f"expression {e} must have the {mgc_first_captured(loop) + loop.captured} operands of "
                             f"its loop, got {count}")
    return 0


cdef int next_of(int *i, Py_ssize_t count, object name) except -1:
    """Go on to the next of count numbers; return which one it was."""
    if i[0] >= count:
        raise ValueError(f"there are more expressions of the kind {name} than the {count} numbers for them")
    i[0] += 1
    return i[0] - 1


cdef object number_of_op(object name):
    """The number of an operation in this version."""
    number = NUMBERS.get(name) if isinstance(name, str) else None
    if number is None:
        raise ValueError(f"there is no operation {name!r:.60} in this version of microgradc")
    return number


def require_recorded(Graph graph not None, bint is_body=False) -> list:
    """Raise ValueError unless a graph is one that functions are recorded as, before any pass.

    Its inputs and parameters are in it once each, in their order; the index of each `take` is an input, made from
    inputs as integers are, or that of `select`; and it has no operation that only passes make. In the body of a loop
    an index may also be made from what it takes from around: loops look at the numbers when they run.

    Returns:
        The inputs that are an index, or that one is made from.
    """
    cdef int e, op, index, inputs = 0, parameters = 0
    cdef set found = set(), known = set()
    for e in range(graph.g.count):
        op = graph.g.op[e]
        if op == MGC_INPUT or op == MGC_PARAMETER:
            index = inputs if op == MGC_INPUT else parameters
            if graph.g.payload[e] != <uint64_t>index:
                raise ValueError(f"expression {e} must be {op_name(op)} {index}, got {graph.g.payload[e]}")
            inputs += op == MGC_INPUT
            parameters += op == MGC_PARAMETER
        elif op >= MGC_OPS_END:
            raise ValueError(f"expression {e} is {op_name(op)}, which functions are not recorded with")
        elif op == MGC_SCAN:
            require_recorded((<Loop>graph.loop_list[graph.g.payload[e]]).body, True)
        elif op >= 0 and mgc_kinds[op].index:
            index = mgc_operands_of(&graph.g, e)[0]
            if not is_choice(&graph.g, index):
                add_index(&graph.g, e, index, found, known, is_body)
    if inputs != graph.input_count or parameters != graph.parameter_count:
        raise ValueError(f"there must be {graph.input_count} inputs and {graph.parameter_count} parameters, "
                         f"got {inputs} and {parameters}")
    return sorted(found)


cdef int add_index(const mgc_graph *g, int e, int index, set found, set known, bint is_body) except -1:
    """Add the inputs that the index of an expression is made from to those found; known are expressions of indices."""
    cdef int x, i
    cdef list left = [index]
    while left:
        x = left.pop()
        if x in known:
            continue
        known.add(x)
        if g.op[x] == MGC_INPUT:
            found.add(g.payload[x])
        elif g.op[x] >= 0 and mgc_keeps_integers(g.op[x]):
            for i in range(mgc_operands_in(g, x)):
                left.append(mgc_operands_of(g, x)[i])
        elif g.op[x] != MGC_CONSTANT and not (is_body and g.op[x] == MGC_PARAMETER):
            raise ValueError(f"the index of expression {e}, {op_name(g.op[e])}, must be an input, or computed from "
                             f"some as integers are, got {op_name(g.op[x])}")
    return 0

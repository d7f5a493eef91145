# From a graph of Values to the steps of a program. Included by program.pyx.
#
# An expression is a number: its place in the lists of `Expressions`. `read_graph` makes one for each node, constant
# and leaf; `Sums` puts chains of additions and products into one expression each; `Plan` gives expressions their
# places and puts them in order.

from collections import defaultdict, namedtuple
from math import frexp, isfinite

cdef enum:
    CONSTANT = -3
    PARAMETER = -2
    INPUT = -1
    DENSE = MGC_DENSE                  # a row of a dense layer: operands, then as many weights, then the bias
    PRODUCTS = MGC_PRODUCTS            # pairs
    CROSS_ENTROPY = MGC_CROSS_ENTROPY  # the index, then values
    TAKE = MGC_TAKE                    # the same

NAMES = {CONSTANT: "constant", PARAMETER: "parameter", INPUT: "input", MGC_DENSE: "dense", MGC_PRODUCTS: "products",
         MGC_CROSS_ENTROPY: "cross_entropy", MGC_TAKE: "take", MGC_TAKE_WEIGHT: "take", MGC_LOGSUMEXP: "logsumexp"}
for _i, _row in enumerate(TABLE, 1):
    NAMES[_i] = _row.name.lower()

# For each row of the table, which operands receive a gradient at all.
cdef list RECEIVES = [0] + [(MGC_X_RECEIVES if row.gx != "0" else 0) | (MGC_Y_RECEIVES if row.gy != "0" else 0)
                            | (MGC_Z_RECEIVES if row.gz != "0" else 0) for row in TABLE]


@cython.internal
cdef class Expressions:
    """Expressions, each once: an operation and the expressions that it is made from."""
    cdef list ops, operands, payloads
    cdef list varies        # whether it depends on an input, so that it is a row of lanes; else it is a scalar
    cdef dict known
    cdef dict nodes         # the expression of a node, by its address

    def __cinit__(self):
        self.ops, self.operands, self.payloads, self.varies = [], [], [], []
        self.known, self.nodes = {}, {}

    cdef int add(self, int op, tuple operands, payload=None, bint varies=False) except -1:
        key = (op, operands, payload)
        found = self.known.get(key)
        if found is not None:
            return found
        cdef int e = len(self.ops)
        for operand in operands:
            varies = varies or self.varies[<int>operand]
        self.ops.append(op)
        self.operands.append(operands)
        self.payloads.append(payload)
        self.varies.append(varies)
        self.known[key] = e
        return e

    cdef int constant(self, double x) except -1:
        cdef uint64_t bits
        memcpy(&bits, &x, sizeof(x))      # 0 and -0 are two, and nan is one
        return self.add(CONSTANT, (), bits)

    cdef double value_of(self, int e) except? -1.0:
        cdef uint64_t bits = self.payloads[e]
        cdef double x
        memcpy(&x, &bits, sizeof(x))
        return x


@cython.internal
cdef class Source:
    """What the expressions were read from."""
    cdef Expressions expressions
    cdef list outputs, parameters


cdef bint same_graphs(list outputs, list inputs, list others, list other_inputs, set made_anew,
                      bint again) except -1:
    """Whether two graphs do the same with their inputs: operations, constants, and the very same parameters.

    made_anew has the leaves that a function makes each time it is traced, which are the same if their numbers are and
    nobody else holds them; if again, it is found, and such leaves are added to it.
    """
    cdef Py_ssize_t i, count
    cdef mgc_node *a
    cdef mgc_node *b
    if len(outputs) != len(others) or len(inputs) != len(other_inputs):
        return False
    for v in [*outputs, *inputs, *others, *other_inputs]:
        if not isinstance(v, Value):
            raise TypeError(f"outputs and inputs must be Values, got {type(v).__name__} {v!r:.40}")
    cdef dict pairs = {address_of(v): address_of(w) for v, w in zip(inputs, other_inputs)}
    cdef list stack = [(address_of(v), address_of(w)) for v, w in zip(outputs, others)]
    cdef set other = set(pairs.values())
    while stack:
        first, second = stack.pop()
        known = pairs.get(first)
        if known is not None:
            if known != second:
                return False
            continue
        pairs[first] = second
        if second in other:      # an input on this side alone
            return False
        a, b = <mgc_node *><uintptr_t>first, <mgc_node *><uintptr_t>second
        count = mgc_operand_count(a)
        if a.op != b.op or count != mgc_operand_count(b):
            return False
        if a.op == MGC_LEAF:
            if memcmp(&a.data, &b.data, sizeof(double)):
                return False
            if a != b and again:
                made_anew.add(first)
            elif (a != b) != (first in made_anew):
                return False
        for i in range(count):
            if mgc_operand_is_node(a, i) != mgc_operand_is_node(b, i):
                return False
            if mgc_operand_is_node(a, i):
                stack.append((<uintptr_t>mgc_operand_at(a, i).node, <uintptr_t>mgc_operand_at(b, i).node))
            elif memcmp(&mgc_operand_at(a, i).number, &mgc_operand_at(b, i).number, sizeof(double)):
                return False
    return True


cdef double largest_number(list outputs) except -1.0:
    """The size of the largest finite number that the outputs were made from, themselves included."""
    cdef Py_ssize_t i
    cdef mgc_node *node
    cdef double found = 0, x
    cdef list stack = [address_of(v) for v in outputs]
    cdef set seen = set(stack)
    while stack:
        node = <mgc_node *><uintptr_t>stack.pop()
        if isfinite(node.data):
            found = max(found, abs(node.data))
        for i in range(mgc_operand_count(node)):
            if not mgc_operand_is_node(node, i):
                x = abs(mgc_operand_value(node, i))
                found = max(found, x) if isfinite(x) else found
            elif <uintptr_t>mgc_operand_at(node, i).node not in seen:
                seen.add(<uintptr_t>mgc_operand_at(node, i).node)
                stack.append(<uintptr_t>mgc_operand_at(node, i).node)
    return found


cdef object address_of(Value v):
    return <uintptr_t>&v.node


cdef Source read_graph(list outputs, list inputs):
    """Make an expression for each node that the outputs depend on."""
    cdef Expressions to = Expressions()
    cdef Source source = Source()
    cdef list stack
    cdef Py_ssize_t i, count
    cdef mgc_node *node
    cdef Value v
    source.expressions, source.parameters = to, []
    for i, leaf in enumerate(inputs):
        to.nodes[<uintptr_t>&(<Value?>leaf).node] = to.add(INPUT, (), i, varies=True)
    for output in outputs:
        stack = [<uintptr_t>&(<Value?>output).node]
        while stack:
            address = stack[-1]
            if address in to.nodes:
                stack.pop()
                continue
            node = <mgc_node *><uintptr_t>address
            if node.op == MGC_LEAF:
                v = <Value>mgc_value_of(node)
                require_replayable(v, node)
                to.nodes[address] = to.add(PARAMETER, (), len(source.parameters))
                source.parameters.append(v)
                continue
            # Before its operands: only by hand is a node made its own operand.
            require_replayable(<Value>mgc_value_of(node), node)
            count = mgc_operand_count(node)
            waiting = len(stack)
            for i in range(count - 1, -1, -1):
                if mgc_operand_is_node(node, i):
                    below = <uintptr_t>mgc_operand_at(node, i).node
                    if below not in to.nodes:
                        stack.append(below)
            if len(stack) > waiting:
                continue
            stack.pop()
            to.nodes[address] = read_node(to, node, count)
    source.outputs = [to.nodes[<uintptr_t>&(<Value>output).node] for output in outputs]
    return source


cdef int require_replayable(Value v, mgc_node *node) except -1:
    if node.flags & MGC_CLOSURE or node.op == MGC_CUSTOM or node.op == MGC_OPAQUE:
        raise CompileError(
            f"the node {v._op or 'without a name'!r} has a rule of its own (a closure, local gradients, Value.func or "
            "function), which cannot be replayed for other numbers; use operations of microgradc")
    return 0


cdef int read_node(Expressions to, mgc_node *node, Py_ssize_t count) except -1:
    """Make the expression of a node whose operands have theirs."""
    cdef Py_ssize_t i
    cdef int op = node.op
    cdef list operands = []
    for i in range(count):
        if mgc_operand_is_node(node, i):
            operands.append(to.nodes[<uintptr_t>mgc_operand_at(node, i).node])
        else:
            operands.append(to.constant(mgc_operand_value(node, i)))
    if op == MGC_SUM or op == MGC_MEAN:
        if count == 1:
            return operands[0]
        one = to.constant(1.0)
        total = to.add(PRODUCTS, tuple([e for operand in operands for e in (operand, one)]))
        return total if op == MGC_SUM else quotient(to, total, to.constant(count))
    if op == MGC_DOT:      # begins with the bias, which is the last operand
        bias = (operands.pop(), to.constant(1.0)) if count & 1 else ()
        return to.add(PRODUCTS, (*bias, *operands))
    if op == TAKE and to.ops[operands[0]] != INPUT:
        raise CompileError("the index of take must be an integer argument of the function that is compiled, "
                           "got one of another function")
    if op == MGC_NEG and to.ops[operands[0]] == MGC_NEG:
        return to.operands[operands[0]][0]
    if op == MGC_POW and to.ops[operands[1]] == CONSTANT:
        exponent = to.value_of(operands[1])
        if exponent == 1:
            return operands[0]
        if exponent == 2:     # pow costs ten times as much
            return to.add(MGC_MUL, (operands[0], operands[0]))
        if exponent == 0.5:
            return to.add(MGC_SQRT, (operands[0],))
        if exponent == -0.5:
            return to.add(MGC_DIV, (to.constant(1.0), to.add(MGC_SQRT, (operands[0],))))
        if exponent == -1:
            return to.add(MGC_DIV, (to.constant(1.0), operands[0]))
    if op == MGC_DIV and to.ops[operands[1]] == CONSTANT:
        return quotient(to, operands[0], operands[1])
    if op == MGC_SUB and to.ops[operands[0]] == MGC_LOGSUMEXP and to.ops[operands[1]] == TAKE:
        if to.operands[operands[0]] == to.operands[operands[1]][1:]:
            return to.add(CROSS_ENTROPY, to.operands[operands[1]])
    if op == TAKE:            # of log_softmax
        total = {to.operands[e][1] if to.ops[e] == MGC_SUB else -1 for e in operands[1:]}
        values = tuple([to.operands[e][0] for e in operands[1:]]) if -1 not in total else ()
        if len(total) == 1 and values and (to.ops[min(total)], to.operands[min(total)]) == (MGC_LOGSUMEXP, values):
            # It takes the largest off by itself.
            shifts = {to.operands[e][1] if to.ops[e] == MGC_SUB else -1 for e in values}
            if len(shifts) == 1 and -1 not in shifts:
                values = tuple([to.operands[e][0] for e in values])
            return to.add(MGC_NEG, (to.add(CROSS_ENTROPY, (operands[0], *values)),))
    if op >= MGC_TABLE_END and op != TAKE and op != MGC_LOGSUMEXP:
        name = mgc_wide_ops[op - MGC_TABLE_END].decode()
        raise CompileError(f"{name} has no step of a program; use other operations")
    return to.add(op, tuple(operands))


cdef int quotient(Expressions to, int x, int y) except -1:
    """Make the expression of x divided by a constant; of a product, if the bits are the same."""
    cdef double divisor = to.value_of(y)
    if abs(frexp(divisor)[0]) == 0.5 and isfinite(1 / divisor):    # a power of two
        return to.add(MGC_MUL, (x, to.constant(1 / divisor)))
    return to.add(MGC_DIV, (x, y))


@cython.internal
cdef class Sums:
    """Expressions in which each sum has become one: of scalars, of rows with weights, of products of rows.

    Terms are added in the order in which they were written: a sum within another one is part of it only if it comes
    first, as in (a + b) + c.
    """
    cdef Expressions original, folded    # as they were read, and with sums as one
    cdef list uses, outputs
    cdef dict terms          # of the sums that stay: (sign, a, b) for each term a * b, b None for a alone
    cdef set from_zero       # those that begin with 0, as `sum` and `dot` do, and not with their first term
    cdef set absorbed
    cdef dict moved          # from original expressions to folded ones

    def __cinit__(self, Source source):
        self.original, self.folded = source.expressions, Expressions()
        self.terms, self.from_zero, self.absorbed, self.moved = {}, set(), set(), {}
        self.count_uses(source.outputs)
        cdef int e
        for e in range(len(self.original.ops) - 1, -1, -1):
            if self.uses[e] and e not in self.absorbed:
                self.find_terms(e)
        for e in range(len(self.original.ops)):
            if self.uses[e] and e not in self.absorbed:
                self.moved[e] = self.move(e)
        self.outputs = [self.moved[e] for e in source.outputs]

    cdef int count_uses(self, list outputs) except -1:
        """Count how often an expression is used; 0 is dead code."""
        self.uses = [0] * len(self.original.ops)
        for e in outputs:
            self.uses[e] += 2      # an output is not to be absorbed
        for e in range(len(self.uses) - 1, -1, -1):
            if self.uses[e]:
                for operand in self.original.operands[e]:
                    self.uses[operand] += 1

    cdef int find_terms(self, int root) except -1:
        """Put the terms of a sum, and of the sum that it begins with if nobody else needs that, into self.terms."""
        cdef int op = self.original.ops[root]
        if op != MGC_ADD and op != MGC_SUB and op != PRODUCTS:
            return 0
        cdef list terms = [], absorbed = [], stack = [(1, root, None)]
        cdef bint explicit = False
        while stack:
            sign, e, factor = stack.pop()
            op, operands = self.original.ops[e], self.original.operands[e]
            is_part = op in (MGC_MUL, MGC_NEG) or (op in (MGC_ADD, MGC_SUB, PRODUCTS) and not terms)
            if factor is not None or (e != root and (self.uses[e] != 1 or not is_part)):
                terms.append((sign, e, factor))
                continue
            if e != root:
                absorbed.append(e)
            if op == MGC_MUL:
                stack.append((sign, operands[0], operands[1]))
            elif op == MGC_PRODUCTS:
                explicit = True
                for i in range(len(operands) - 2, -1, -2):
                    stack.append((sign, operands[i], None if self.is_one(operands[i + 1]) else operands[i + 1]))
            else:
                if len(operands) == 2:
                    stack.append((-sign if op == MGC_SUB else sign, operands[1], None))
                stack.append((-sign if op == MGC_NEG else sign, operands[0], None))
        if explicit or len(terms) > 2:
            self.terms[root] = terms
            self.absorbed.update(absorbed)
            if explicit:
                self.from_zero.add(root)
        return 0

    cdef bint is_one(self, int e):
        return self.original.ops[e] == CONSTANT and self.original.value_of(e) == 1

    cdef int move(self, int e) except -1:
        if e in self.terms:
            terms = [(sign, self.moved[a], None if b is None else self.moved[b]) for sign, a, b in self.terms[e]]
            return self.sum_of(terms, e in self.from_zero)
        operands = tuple([self.moved[x] for x in self.original.operands[e]])
        return self.folded.add(self.original.ops[e], operands, self.original.payloads[e], self.original.varies[e])

    cdef int sum_of(self, list terms, bint from_zero) except -1:
        """Make the expression of a sum of terms: scalars that it begins with are the bias of a dense row.

        From the first product of two rows on, the sum is one of products, to which the dense row is one more.
        """
        cdef Expressions to = self.folded
        cdef int one = to.constant(1.0), bias = to.constant(0.0 if from_zero else -0.0)
        cdef list scalars = [], rows = [], weights = [], pairs = []
        for sign, a, b in terms:
            b = one if b is None else b
            if not to.varies[a]:
                a, b = b, a
            # Now b is a scalar if one of the two is.
            if sign < 0:
                b = self.negated(b)
            if not to.varies[a] and not rows and not pairs:
                scalars += [a, b]
                continue
            if scalars and not rows and not pairs:
                bias = self.sum_of_scalars(scalars)
            if pairs or to.varies[b]:
                if rows:
                    pairs += [to.add(DENSE, (*rows, *weights, bias)), one]
                    rows = []
                elif scalars and not pairs:
                    pairs += [bias, one]
                pairs += [a, b]
            else:     # a scalar among rows is the weight of a row of ones
                rows.append(a if to.varies[a] else one)
                weights.append(b if to.varies[a] or a == one else self.sum_of_scalars([a, b]))
        if pairs:
            return to.add(PRODUCTS, tuple(pairs))
        return to.add(DENSE, (*rows, *weights, bias)) if rows else self.sum_of_scalars(scalars)

    cdef int sum_of_scalars(self, list pairs) except -1:
        """Make the expression of a sum of products of scalars."""
        cdef int one = self.folded.constant(1.0)
        if len(pairs) == 2 and one in pairs:
            return pairs[1] if pairs[0] == one else pairs[0]
        return self.folded.add(PRODUCTS, tuple(pairs))

    cdef int negated(self, int e) except -1:
        if self.folded.ops[e] == CONSTANT:
            return self.folded.constant(-self.folded.value_of(e))
        return self.folded.add(MGC_NEG, (e,))

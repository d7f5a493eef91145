# Where the numbers of parameters are while steps are taken, and their gradients: where the program reads them and adds
# them up, so that a step copies few. Changes with what a step reads and writes of parameters. Included by program.pyx.

from cpython.pycapsule cimport PyCapsule_GetPointer

cdef extern from "engine/update.h":
    enum:
        MGC_UPDATE_PART
        MGC_UPDATE_BUFFERS

    ctypedef struct mgc_update:
        void (*begin)(mgc_update *, Py_ssize_t step, bint first) noexcept nogil
        void (*change)(const mgc_update *, Py_ssize_t place, Py_ssize_t n, double *x, double *g) noexcept nogil
        double *buffers[MGC_UPDATE_BUFFERS]

cdef extern from "program/finite.h":
    bint mgc_all_finite(const double *, Py_ssize_t) noexcept nogil

ctypedef struct mgc_held:           # the rule of a group, and where the group is
    mgc_update *update
    Py_ssize_t begin, count, step   # its first parameter, how many it has, and how many steps it has made
    bint first                      # whether its buffers have no numbers yet
    bint is_sorted                  # whether its buffers are in the order of the group; else they are copied
    double *given[MGC_UPDATE_BUFFERS]    # its buffers, in the order of the group

ctypedef struct mgc_piece:          # parameters of a group whose homes lie side by side
    mgc_held *rule
    Py_ssize_t place, count, home   # where they are in the buffers; the home of the first


@cython.internal
cdef class Memory:
    """Memory of any kind, 0 at first."""
    cdef void *at

    def __cinit__(self, size_t count, size_t size):
        self.at = PyMem_Malloc((count + 1) * size)
        if self.at == NULL:
            raise MemoryError(f"no memory for {count:,} parameters")
        memset(self.at, 0, (count + 1) * size)

    def __dealloc__(self):
        PyMem_Free(self.at)


# The states of groups, by identity, that a run changes meanwhile. It is no Python that puts them in and takes them out,
# so no signal comes in between.
cdef set taken_states = set()


@cython.internal
cdef class Homes:
    """The parameters in a run of steps.

    A parameter that the optimizer changes, and that the program reads in one place alone, a weight, has its home there:
    its number among the weights, its gradient among the sums of the first partition. All others have theirs in arrays
    of this class, and are copied to and fro.

    The values are those that the optimizer changes, and then others that get a gradient all the same. Their homes are
    places of weights, or -1 - i for place i of the arrays.
    """
    cdef Call call
    cdef mgc_program program            # the call's own: its runs of weights are those that are not at home there
    cdef list values
    cdef list held                      # the rules, whose memory is used; None between runs
    cdef set states                     # the identities of their states
    cdef list added                     # each state, and the names of what was put into it before the first step
    cdef Py_ssize_t count, changed_count, place_count, rule_count, piece_count, shared_count
    cdef Py_ssize_t zeroed              # how many of the arrays begin a step at 0; others' gradients add up
    cdef Py_ssize_t weight_count        # from the first that is at home to the last
    cdef mgc_node **nodes               # of the values
    cdef Py_ssize_t *home
    cdef int *places                    # of what has its home in the arrays and gets a gradient from the program, in
    cdef int *scalars                   # the order in which it arrives: which it is, and which scalar
    cdef Doubles numbers, grads, state  # state: copies of buffers
    cdef Doubles kept                   # gradients of the last whole step, where the next one may fail
    cdef mgc_held *rules
    cdef mgc_piece *pieces
    cdef Py_ssize_t *order              # the parameters of each group, sorted by their homes
    cdef Memory node_memory, home_memory, place_memory, scalar_memory, run_memory, rule_memory, piece_memory
    cdef Memory order_memory

    def __cinit__(self, Program program, list parameters, list given):
        cdef Runner runner = program.runner(PARAMETER_GRADIENTS)
        cdef mgc_program *p = runner.program
        cdef Py_ssize_t i, scalar, place, rest = 0, inputs = len(program.parameters) + len(given)
        cdef dict places = {}
        cdef list arriving = []         # (value, scalar)
        cdef Memory use_memory = Memory(p.scalar_count, sizeof(Py_ssize_t))
        cdef Py_ssize_t *use = <Py_ssize_t *>use_memory.at     # see find_uses
        self.call, self.values, self.shared_count = runner.call(), [], program.shared_count
        for v in parameters:
            if type(v) is not Value and not isinstance(v, Value):
                raise TypeError(f"parameters must be Values, got {type(v).__name__}")
            places[id(v)] = len(self.values)
            self.values.append(v)
        if len(places) < len(parameters):
            raise ValueError("a parameter is twice in the optimizer")
        self.changed_count = len(parameters)
        for i, v in enumerate((*program.parameters, *given)):
            if v is None:
                continue
            place = places.setdefault(id(v), len(self.values))
            if place == len(self.values):
                self.values.append(v)
            scalar = i + program.shared_count
            arriving.append((place, scalar if i < len(program.parameters) else i - len(program.parameters)))
        self.count = len(self.values)
        self.node_memory = Memory(self.count, sizeof(mgc_node *))
        self.nodes = <mgc_node **>self.node_memory.at
        for i in range(self.count):
            self.nodes[i] = &(<Value?>self.values[i]).node
        find_uses(runner, use)
        self.home_memory = Memory(self.count, sizeof(Py_ssize_t))
        self.home = <Py_ssize_t *>self.home_memory.at
        for place, scalar in arriving:      # + 1, and less than 0 for one that arrives twice
            self.home[place] = use[scalar] if self.home[place] == 0 and place < self.changed_count else -1
        for i in range(self.count):
            if self.home[i] > 0:
                self.home[i] -= 1
            else:
                rest += 1
                self.home[i] = -rest
                self.zeroed += i < self.changed_count
        self.place_memory, self.scalar_memory = Memory(inputs, sizeof(int)), Memory(inputs, sizeof(int))
        self.places, self.scalars = <int *>self.place_memory.at, <int *>self.scalar_memory.at
        for place, scalar in arriving:
            if self.home[place] < 0:
                self.places[self.place_count], self.scalars[self.place_count] = -1 - self.home[place], scalar
                self.place_count += 1
            else:
                use[scalar] = 0
                self.weight_count = max(self.weight_count, self.home[place] + 1)
        self.numbers, self.grads, self.state = Doubles(rest + 1), Doubles(rest + 1), Doubles(0)
        self.kept = Doubles(self.weight_count)
        self.set_program(runner)

    cdef int set_program(self, Runner runner) except -1:
        """Make the call's program that of the runner, which copies what is not at home among the weights alone."""
        cdef mgc_plan *plan = &runner.plan
        cdef Py_ssize_t w, i, last = -1, runs = 0
        cdef int *begin
        cdef int scalar
        cdef Memory changes_memory = Memory(plan.program.scalar_count, 1)
        cdef unsigned char *changes = <unsigned char *>changes_memory.at
        memset(changes, 1, plan.program.scalar_count)
        for i in range(plan.constant_places.count):
            changes[plan.constant_places.items[i]] = 0
        self.run_memory = Memory(3 * plan.program.weight_count, sizeof(int))
        begin = <int *>self.run_memory.at
        self.program = plan.program
        self.program.run_weights, self.program.run_scalars = begin, begin + plan.program.weight_count
        self.program.run_sizes = begin + 2 * plan.program.weight_count
        for i in range(self.changed_count):
            if self.home[i] >= 0:
                changes[plan.weights.items[self.home[i]]] = 0
        for w in range(plan.weights.count):
            scalar = plan.weights.items[w]
            if not changes[scalar]:
                continue
            i = runs - 1
            if runs and last == w - 1 and self.program.run_scalars[i] + self.program.run_sizes[i] == scalar:
                self.program.run_sizes[i] += 1
            else:
                self.program.run_weights[runs], self.program.run_scalars[runs] = <int>w, scalar
                self.program.run_sizes[runs] = 1
                runs += 1
            last = w
        self.program.run_count = <int>runs
        if not plan.program.scalar_step_count:      # of those that nobody reads, gradients need no 0 to begin with
            self.program.scalar_count = <int>self.shared_count
            for i in range(self.place_count):
                self.program.scalar_count = max(self.program.scalar_count, self.scalars[i] + 1)
        mgc_run_shared(&self.call.call)     # constants are there for good
        self.call.call.program = &self.program
        return 0

    cdef int set_rules(self, list rules) except -1:
        """Take the rules of the groups: see `Steps.run`."""
        cdef Py_ssize_t i, j, total = 0
        cdef bint is_same = self.rules != NULL and len(rules) == self.rule_count
        for _, count, _, _, _ in rules:
            total += count
        if total != self.changed_count:
            raise ValueError(f"the rules are for {total} parameters, there are {self.changed_count}")
        for i in range(len(rules)):
            is_same = is_same and self.rules[i].count == rules[i][1]
        if not is_same:
            self.rules = NULL       # until all that belongs to them is there
            self.rule_memory, self.rule_count = Memory(len(rules), sizeof(mgc_held)), len(rules)
            self.rules, total = <mgc_held *>self.rule_memory.at, 0
            try:
                for i in range(self.rule_count):
                    self.rules[i].begin, self.rules[i].count = total, rules[i][1]
                    total += self.rules[i].count
                self.set_pieces()
            except BaseException:
                self.rules = NULL
                raise
        for i, (held, _, step, new, _) in enumerate(rules):
            self.rules[i].update = <mgc_update *>PyCapsule_GetPointer(held.capsule(), "microgradc.update")
            self.rules[i].step, self.rules[i].first = step, new is not None
            for j in range(MGC_UPDATE_BUFFERS):
                self.rules[i].given[j] = self.rules[i].update.buffers[j]
        self.states = {id(state) for _, _, _, _, state in rules}
        if not taken_states.isdisjoint(self.states):
            raise RuntimeError("the optimizer takes the steps of another training meanwhile, in another thread")
        self.held, self.added = rules, []
        taken_states.update(self.states)
        for _, _, step, new, state in rules:        # now: once steps are taken, nothing may fail any more
            names = [name for name in (*(new or ()), "step") if name not in state]
            self.added.append((state, names))
            state.update(new or (), step=step)
        return 0

    cdef int set_pieces(self) except -1:
        """Sort the parameters of each group by their homes, and find which lie side by side."""
        cdef Py_ssize_t i, r, w, home, filled
        cdef mgc_held *rule
        cdef mgc_piece *piece = NULL
        cdef Memory at_memory = Memory(self.weight_count, sizeof(Py_ssize_t))
        cdef Memory filled_memory = Memory(self.rule_count, sizeof(Py_ssize_t))
        cdef Memory rule_memory = Memory(self.changed_count, sizeof(Py_ssize_t))
        cdef Py_ssize_t *at = <Py_ssize_t *>at_memory.at         # + 1, of a weight: whose home it is
        cdef Py_ssize_t *ends = <Py_ssize_t *>filled_memory.at
        cdef Py_ssize_t *rule_of = <Py_ssize_t *>rule_memory.at
        self.order_memory = Memory(self.changed_count, sizeof(Py_ssize_t))
        self.piece_memory = Memory(self.changed_count, sizeof(mgc_piece))
        self.order, self.pieces = <Py_ssize_t *>self.order_memory.at, <mgc_piece *>self.piece_memory.at
        self.piece_count = 0
        for r in range(self.rule_count):
            ends[r] = self.rules[r].begin
            for i in range(self.rules[r].begin, self.rules[r].begin + self.rules[r].count):
                rule_of[i] = r
        for i in range(self.changed_count):
            if self.home[i] >= 0:
                at[self.home[i]] = i + 1
        for w in range(self.weight_count):
            if at[w]:
                r = rule_of[at[w] - 1]
                self.order[ends[r]] = at[w] - 1
                ends[r] += 1
        for i in range(self.changed_count):
            if self.home[i] < 0:
                self.order[ends[rule_of[i]]] = i
                ends[rule_of[i]] += 1
        for r in range(self.rule_count):
            rule = &self.rules[r]
            rule.is_sorted, piece = True, NULL
            for i in range(rule.begin, rule.begin + rule.count):
                rule.is_sorted = rule.is_sorted and self.order[i] == i
                home = self.home[self.order[i]]
                if piece != NULL and home - piece.home == (piece.count if piece.home >= 0 else -piece.count):
                    piece.count += 1
                    continue
                piece = &self.pieces[self.piece_count]
                piece[0] = mgc_piece(rule=rule, place=i - rule.begin, count=1, home=home)
                self.piece_count += 1
        return 0

    cdef int copy_buffers(self, bint back) except -1:
        """Take the buffers of the rules, sorted by homes; or give back what has become of them."""
        cdef Py_ssize_t r, i, j, needed = 0
        cdef mgc_held *rule
        cdef double *to
        cdef double *given
        cdef Py_ssize_t *order
        for r in range(self.rule_count):
            needed += 0 if self.rules[r].is_sorted else self.rules[r].count * MGC_UPDATE_BUFFERS
        if self.state.size < <size_t>needed:
            self.state = Doubles(needed)
        to = self.state.doubles
        for r in range(self.rule_count):
            rule = &self.rules[r]
            if rule.is_sorted:
                continue
            order = self.order + rule.begin
            for j in range(MGC_UPDATE_BUFFERS):
                given = rule.given[j]
                if given == NULL:
                    continue
                if back:
                    for i in range(rule.count):
                        given[order[i] - rule.begin] = to[i]
                else:
                    for i in range(rule.count):
                        to[i] = given[order[i] - rule.begin]
                    rule.update.buffers[j] = to
                to += rule.count
        return 0

    cdef int release_rules(self, Py_ssize_t steps) except -1:
        """Let the rules have their buffers again, if they have not, and note so many steps in their states."""
        cdef Py_ssize_t r, j
        cdef list rules = self.held
        if rules is None:
            return 0
        self.held = None
        taken_states.difference_update(self.states)
        for r in range(self.rule_count):
            for j in range(MGC_UPDATE_BUFFERS):
                self.rules[r].update.buffers[j] = self.rules[r].given[j]
        if steps:
            for _, _, step, _, state in rules:
                state["step"] = step + steps
        else:
            for state, names in self.added:
                for name in names:
                    state.pop(name, None)
        self.added = None
        return 0

    cdef inline double *number(self, Py_ssize_t i) noexcept nogil:
        cdef Py_ssize_t home = self.home[i]
        return self.call.weights.doubles + home if home >= 0 else self.numbers.doubles - 1 - home

    cdef inline double *gradient(self, Py_ssize_t i) noexcept nogil:
        cdef Py_ssize_t home = self.home[i]
        return self.call.partials.doubles + home if home >= 0 else self.grads.doubles - 1 - home

    cdef int read(self) except -1:
        """Take the numbers, gradients and states of the parameters."""
        cdef Py_ssize_t i
        for i in range(self.count):
            self.number(i)[0], self.gradient(i)[0] = self.nodes[i].data, self.nodes[i].grad
        self.copy_buffers(False)
        self.call.version = 0
        self.spread()
        return 0

    cdef int write(self, bint has_changed) except -1:
        """Put the numbers, gradients and states where Python sees them."""
        cdef Py_ssize_t i
        for i in range(self.count):
            self.nodes[i].grad = self.gradient(i)[0]
        if has_changed:
            for i in range(self.changed_count):
                self.nodes[i].data = self.number(i)[0]
            self.copy_buffers(True)
            leaf_version[0] += 1
        return 0

    cdef void keep(self) noexcept nogil:
        """Keep the gradients among the sums, which a step begins with changing."""
        memcpy(self.kept.doubles, self.call.partials.doubles, self.weight_count * sizeof(double))

    cdef void restore(self) noexcept nogil:
        """Let them be those that were kept."""
        memcpy(self.call.partials.doubles, self.kept.doubles, self.weight_count * sizeof(double))

    cdef void spread(self) noexcept nogil:
        """Give the program the numbers of the parameters that are not at home there."""
        cdef Py_ssize_t k
        for k in range(self.place_count):
            self.call.scalars.doubles[self.scalars[k]] = self.numbers.doubles[self.places[k]]
        self.call.has_shared = False

    cdef void collect(self) noexcept nogil:
        """Take the gradients of these from the program."""
        cdef Py_ssize_t k, i
        cdef const double *found = self.call.gscalars.doubles
        cdef double *g = self.grads.doubles
        cdef double *sums = self.call.partials.doubles
        memset(g, 0, self.zeroed * sizeof(double))
        for k in range(self.place_count):
            g[self.places[k]] += found[self.scalars[k]]
        if self.call.call.careful:          # all sums began at -0
            for i in range(self.weight_count):
                sums[i] += 0.0

    cdef bint is_finite(self) noexcept nogil:
        """Whether all gradients are."""
        cdef Py_ssize_t i
        cdef mgc_piece *piece
        for i in range(self.piece_count):
            piece = &self.pieces[i]
            if piece.home >= 0 and not mgc_all_finite(self.call.partials.doubles + piece.home, piece.count):
                return False
        return mgc_all_finite(self.grads.doubles, self.grads.size)

    cdef bint has_nan(self) noexcept nogil:
        """Whether a gradient is nan, before they are collected."""
        cdef Py_ssize_t i
        cdef const double *found = self.call.gscalars.doubles
        for i in range(self.shared_count):
            if isnan(found[i]):
                return True
        for i in range(self.place_count):
            if isnan(found[self.scalars[i]]):
                return True
        if mgc_all_finite(self.call.partials.doubles, self.weight_count):
            return False
        for i in range(self.changed_count):
            if self.home[i] >= 0 and isnan(self.gradient(i)[0]):
                return True
        return False

    cdef Py_ssize_t not_finite(self) noexcept:
        """The first whose gradient is inf or nan; -1 if there is none."""
        cdef Py_ssize_t i
        for i in range(self.count):
            if not isfinite(self.gradient(i)[0]):
                return i
        return -1

    cdef void clip(self, double largest) noexcept nogil:
        """What optim.clip_grad_norm_ does."""
        cdef Py_ssize_t i
        cdef double total = 0, factor, g
        for i in range(self.changed_count):
            g = self.gradient(i)[0]
            total += g * g
        factor = largest / (sqrt(total) + 1e-6)
        for i in range(self.changed_count):
            self.gradient(i)[0] *= 1.0 if factor > 1 else factor

    cdef void change(self, Py_ssize_t steps) noexcept nogil:
        """Take a step of the optimizer, after so many of this run."""
        cdef double part[MGC_UPDATE_PART]
        cdef double *x
        cdef double *g
        cdef Py_ssize_t i, done, n
        cdef mgc_piece *piece
        cdef mgc_update *update
        for i in range(self.rule_count):
            update = self.rules[i].update
            update.begin(update, self.rules[i].step + steps + 1, self.rules[i].first and steps == 0)
        for i in range(self.piece_count):
            piece, done = &self.pieces[i], 0
            update = piece.rule.update
            if piece.home >= 0:
                x, g = self.call.weights.doubles + piece.home, self.call.partials.doubles + piece.home
            else:
                x, g = self.numbers.doubles - 1 - piece.home, self.grads.doubles - 1 - piece.home
            while done < piece.count:
                n = min(MGC_UPDATE_PART, piece.count - done)
                memcpy(part, g + done, n * sizeof(double))      # the gradients of the last step remain
                update.change(update, piece.place + done, n, x + done, part)
                done += n
        self.spread()


cdef int find_uses(Runner runner, Py_ssize_t *use) except -1:
    """For each scalar: 1 + the weight that it is; -1 if it is more than that, 0 if it is none."""
    cdef mgc_program *p = runner.program
    cdef const mgc_step *step
    cdef Py_ssize_t i, j
    cdef int scalar
    for i in range(runner.plan.weights.count):
        scalar = runner.plan.weights.items[i]
        use[scalar] = -1 if use[scalar] else i + 1
    for i in range(p.broadcast_count):
        use[p.broadcast_scalars[i]] = -1
    for i in range(p.output_count):
        if p.output_places[i] < 0:
            use[-1 - p.output_places[i]] = -1
    for i in range(p.scalar_step_count):
        step = &p.scalar_steps[i]
        if step.op < MGC_TABLE_END:
            use[step.x] = use[step.y] = use[step.z] = -1
        else:
            for j in range(mgc_kinds[step.op].index + mgc_kinds[step.op].rows * step.k):
                use[p.places[step.places + j]] = -1
    return 0

# Training: steps of an optimizer over the examples of a program, of which no single one needs Python. Changes with what
# a step is. Included by program.pyx.

from cpython.pycapsule cimport PyCapsule_GetPointer

cdef extern from "engine/update.h":
    enum:
        MGC_UPDATE_PART

    ctypedef struct mgc_update:
        void (*begin)(mgc_update *, Py_ssize_t step, bint first) noexcept nogil
        void (*change)(const mgc_update *, Py_ssize_t place, Py_ssize_t n, double *x, double *g) noexcept nogil

cdef enum:
    UNHEARD_WORK = SLICE_WORK * 8   # multiplications or so between two looks at signals

cdef enum:      # how a run of steps ended
    DONE
    PAUSED
    ALONE       # a step needs Python
    NOT_FINITE

ctypedef struct mgc_cut:            # how a batch of so many examples is cut into blocks
    Py_ssize_t n, block, blocks
    int partitions

ctypedef struct mgc_held:           # the rule of a group, and where the group is
    mgc_update *update
    Py_ssize_t count, step          # how many parameters it has, and how many steps it has made
    bint first                      # whether its buffers have no numbers yet


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


cdef class Steps:
    """The steps of a training, of the mean over a batch of a program's first output.

    In a run, the numbers of parameters are in an array: first those that the optimizer changes, then others that get a
    gradient all the same. At its end, and when Python may look, they are put back.

    Args:
        program: the program.
        parameters: those that the optimizer changes, of all groups.
        shared: an Example of the shared inputs' numbers, or None. Values in it get their gradients.
    """
    cdef readonly Program program
    cdef Call call
    cdef list held                      # the rules, whose memory is used
    cdef list changed, values           # the parameters that the optimizer changes; these and the others
    cdef list shared_values
    cdef Py_ssize_t count, changed_count, place_count
    cdef Memory node_memory, place_memory, scalar_memory, rule_memory
    cdef mgc_node **nodes               # of the values
    cdef int *places                    # of what gets a gradient from the program, in the order in which it arrives:
    cdef int *scalars                   # which of the values it is, and which scalar
    cdef Doubles numbers, grads, rows, found
    cdef list sources                   # the arrays of all examples
    cdef Order order
    cdef mgc_held *rules
    cdef Py_ssize_t rule_count
    cdef double *memory                 # of lanes
    cdef double *outputs                # of all examples of each epoch, in the order of their turns; or NULL
    cdef double *visited                # the places of these examples; or NULL
    cdef mgc_cut cuts[2]                # of a full batch, and of what is left
    cdef const double **columns         # the first number of each array
    cdef Memory column_memory
    cdef Py_ssize_t total, batch        # how many examples, and how many in a batch
    cdef Py_ssize_t first               # how many of an epoch had their turn
    cdef Py_ssize_t epochs, epoch       # how many to go in this run, and how many went
    cdef Py_ssize_t most                # steps of a run
    cdef readonly Py_ssize_t steps      # how many were taken
    cdef readonly double loss           # of the last batch
    cdef double epoch_loss
    cdef double clip                    # the largest norm; less than 0 for any
    cdef bint check, is_twister         # is_twister: whether an epoch's order is made without Python

    def __init__(self, Program program not None, list parameters not None, Example shared):
        cdef dict places = {}
        cdef Py_ssize_t i, place, count = len(program.parameters)
        cdef list given = [] if shared is None or shared.values is None else shared.values
        if self.program is not None:
            raise TypeError("Steps are made once; make new ones")
        self.changed, self.values, self.shared_values = list(parameters), [], given
        for v in parameters:
            if type(v) is not Value and not isinstance(v, Value):
                raise TypeError(f"parameters must be Values, got {type(v).__name__}")
            places[id(v)] = len(self.values)
            self.values.append(v)
        if len(places) < len(parameters):
            raise ValueError("a parameter is twice in the optimizer")
        self.call = program.runner(PARAMETER_GRADIENTS).call()
        self.place_memory = Memory(count + len(given), sizeof(int))
        self.scalar_memory = Memory(count + len(given), sizeof(int))
        self.places, self.scalars = <int *>self.place_memory.at, <int *>self.scalar_memory.at
        for i, v in enumerate((*program.parameters, *given)):
            if v is None:
                continue
            place = places.setdefault(id(v), len(self.values))
            if place == len(self.values):
                self.values.append(v)
            self.places[self.place_count] = <int>place
            self.scalars[self.place_count] = <int>(program.shared_count + i if i < count else i - count)
            self.place_count += 1
        self.count, self.changed_count = len(self.values), len(parameters)
        self.numbers, self.grads = Doubles(self.count + 1), Doubles(self.count + 1)
        self.node_memory = Memory(self.count, sizeof(mgc_node *))
        self.nodes = <mgc_node **>self.node_memory.at
        for i in range(self.count):
            self.nodes[i] = &(<Value?>self.values[i]).node
        self.column_memory = Memory(program.input_count + 1, sizeof(double *))
        self.columns = <const double **>self.column_memory.at
        self.rows, self.found = Doubles(0), Doubles(0)
        self.program = program

    def is_for(self, Program program, list parameters not None, Example shared):
        """Return whether these are of the same program and parameters, and Values in the same shared places."""
        cdef list given = [] if shared is None or shared.values is None else shared.values
        if program is not self.program or len(parameters) != len(self.changed):
            return False
        return is_same(parameters, self.changed) and is_same(given, self.shared_values)

    @property
    def has_hooks(self):
        """Whether a parameter has hooks, which a plain step would not call."""
        cdef Py_ssize_t i
        for i in range(self.count):
            if self.nodes[i].flags & MGC_CLOSURE:
                return True
        return False

    @property
    def losses(self):
        """The mean loss of each epoch that ended in the last run."""
        return [self.found.doubles[i] for i in range(self.epoch)]

    def not_finite(self):
        """Return the first parameter whose gradient is inf or nan, and the gradient; None if there is none."""
        cdef Py_ssize_t i
        for i in range(self.count):
            if not isfinite(self.grads.doubles[i]):
                return self.values[i], self.grads.doubles[i]
        return None

    def run(self, tuple arrays, Example shared, list rules not None, Order order not None, Py_ssize_t batch,
            Py_ssize_t epochs, Py_ssize_t most, double clip, bint check, outputs=None, places=None):
        """Take steps, without the GIL as long as nothing asks for it. What was begun in the run before goes on.

        Args:
            arrays, shared: as for `Program.run`.
            rules: for each group of the optimizer its rule, which gives a capsule, how many parameters it has, how many
                steps it has made, and whether its buffers are new.
            order: the order of the examples.
            batch: how many examples make a step; what is left at the end of an epoch makes another.
            epochs, most: how many epochs and steps to take at most.
            clip: the largest norm of all gradients of the optimizer's parameters; less than 0 for any.
            check: whether to stop before the update where the loss or a gradient is inf or nan.
            outputs: where to put the outputs of the examples of each epoch in the order of their turns, or None.
            places: where to put the places of these examples, float64 of shape (epochs, n), or None.

        Returns:
            Whether all was finite.
        """
        cdef Py_ssize_t i
        cdef bint is_finite
        if self.program is None:
            raise TypeError("these Steps were not initialised: Steps(program, parameters, shared)")
        if order.n >= 1 << 32:
            raise ValueError("there must be less than 2**32 examples")
        self.steps = self.epoch = 0
        try:
            self.set_arrays(arrays, batch)
            if self.total != order.n:
                raise ValueError(f"the order is of {order.n} examples, there are {self.total}")
            self.call.set_seeds([0.0] * self.program.output_count)
            self.call.set_shared(self.program, shared)
            self.set_rules(rules)
            self.order, self.is_twister, self.epochs, self.most = order, order.is_twister, epochs, most
            self.clip, self.check = clip, check
            if self.found.size < <size_t>epochs + 1:
                self.found = Doubles(epochs + 1)
            self.outputs = self.visited = NULL
            if outputs is not None:
                if outputs.size != epochs * self.total * self.program.output_count:
                    raise ValueError(f"outputs must have {self.program.output_count} numbers for each example")
                self.outputs = <double *>self.call.view(outputs, True).buf
            if places is not None:
                if places.shape != (epochs, self.total):
                    raise ValueError(f"places must be of shape {(epochs, self.total)}, got {places.shape}")
                self.visited = <double *>self.call.view(places, True).buf
            self.read()
            if self.first == 0:
                order.begin()
            try:
                is_finite = self.take_steps()
            finally:
                self.write()
                order.end()
            return is_finite
        finally:
            self.call.release_views()

    cdef int set_arrays(self, tuple arrays, Py_ssize_t batch) except -1:
        cdef mgc_call *c = &self.call.call
        cdef Py_ssize_t i
        if self.call.runner.plan.index_inputs.count or self.call.runner.indices is not None:
            arrays = tuple([numpy().array(a) for a in arrays])    # nobody may change an index that was looked at
        self.sources = list(arrays)
        self.call.set_arrays(arrays)
        for i in range(c.array_count):
            self.columns[i] = self.call.pointers[i]
        self.total, self.batch = c.n, min(batch, c.n)
        if self.first >= self.total:
            self.first = 0
        for i, n in enumerate((self.batch, self.total % self.batch or self.batch)):
            c.n = n
            self.call.set_blocks()
            self.cuts[i] = mgc_cut(n=n, block=c.block, blocks=c.blocks, partitions=c.partitions)
            if n == 1:
                self.cuts[i] = mgc_cut(n=1, block=1, blocks=1, partitions=1)
        if self.rows.size < <size_t>(self.batch * self.program.input_count + 1):
            self.rows = Doubles(self.batch * self.program.input_count + 1)
        return 0

    cdef int set_rules(self, list rules) except -1:
        cdef Py_ssize_t i, total = 0
        self.rule_memory = Memory(len(rules), sizeof(mgc_held))
        self.rules, self.rule_count = <mgc_held *>self.rule_memory.at, len(rules)
        self.held = list(rules)
        for i, (held, count, step, first) in enumerate(self.held):
            self.rules[i].update = <mgc_update *>PyCapsule_GetPointer(held.capsule(), "microgradc.update")
            self.rules[i].count, self.rules[i].step, self.rules[i].first = count, step, first
            total += count
        if total != len(self.changed):
            raise ValueError(f"the rules are for {total} parameters, there are {len(self.changed)}")
        return 0

    cdef int read(self) except -1:
        """Take the numbers and gradients of the parameters."""
        cdef Py_ssize_t i
        for i in range(self.count):
            self.numbers.doubles[i], self.grads.doubles[i] = self.nodes[i].data, self.nodes[i].grad
        self.call.version = 0
        self.set_scalars()
        return 0

    cdef int write(self) except -1:
        """Put the numbers and gradients into the parameters."""
        cdef Py_ssize_t i
        for i in range(self.count):
            self.nodes[i].grad = self.grads.doubles[i]
        if self.steps:
            for i in range(self.changed_count):
                self.nodes[i].data = self.numbers.doubles[i]
            leaf_version[0] += 1
        return 0

    cdef void set_scalars(self) noexcept nogil:
        """Give the program the numbers of the parameters."""
        cdef Py_ssize_t k
        for k in range(self.place_count):
            self.call.scalars.doubles[self.scalars[k]] = self.numbers.doubles[self.places[k]]
        self.call.has_shared = False

    cdef bint take_steps(self) except -1:
        cdef bint is_large = self.call.runner.seconds * self.batch >= LEAST_SHARED
        cdef double work = self.call.runner.work * self.batch + self.call.runner.work_once + 10 * self.count
        cdef Py_ssize_t unheard = <Py_ssize_t>(UNHEARD_WORK / (work + 1)) + 1
        cdef int end = ALONE
        while True:
            if is_large:        # threads share in it, and signals are heard meanwhile
                end = self.begin_step()
            else:
                for i in range(2):
                    self.call.call.block = self.cuts[i].block
                    self.memory = self.call.lane_doubles(0)
                with nogil:
                    end = self.go(unheard)
            if end == ALONE:
                self.call.execute()
                end = PAUSED if self.finish_step() else NOT_FINITE
            if end == DONE:
                return True
            if end == NOT_FINITE:
                return False
            if self.first == 0 and not self.is_twister and self.epoch < self.epochs:
                self.order.begin()
            self.write()
            PyErr_CheckSignals()

    cdef int go(self, Py_ssize_t most) noexcept nogil:
        """Take so many steps, or less; return how it ended."""
        cdef Py_ssize_t i
        cdef int end
        for i in range(most):
            end = self.begin_step()
            if end != ALONE:
                return end
            self.run_here()
            if self.call.trouble or (self.call.runner.takes and self.call.has_nan_gradient()):
                return ALONE
            if not self.finish_step():
                return NOT_FINITE
            if self.first == 0 and self.order.places != NULL and not self.is_twister:
                return PAUSED
        return PAUSED

    cdef int begin_step(self) noexcept nogil:
        """Take the rows of the next batch; return ALONE, or DONE if there is none."""
        cdef mgc_call *c = &self.call.call
        cdef const Py_ssize_t *places = self.order.places
        cdef Py_ssize_t n = min(self.batch, self.total - self.first), i, k, a, columns
        cdef const double *source
        cdef double *to = self.rows.doubles
        if self.epoch == self.epochs or self.steps == self.most:
            return DONE
        if self.first == 0:
            self.epoch_loss = 0
            if places != NULL and self.is_twister:
                self.order.shuffle()
            if places != NULL and self.visited != NULL:
                for i in range(self.total):
                    self.visited[self.epoch * self.total + i] = <double>places[i]
        c.n = n
        self.call.seeds[0] = 1.0 / n
        c.outputs = NULL
        if self.outputs != NULL:
            c.outputs = self.outputs + (self.epoch * self.total + self.first) * c.program.output_count
        for a in range(c.array_count):
            columns, source = self.call.columns[a], self.columns[a]
            if places == NULL:
                self.call.pointers[a] = source + self.first * columns
                continue
            self.call.pointers[a] = to
            for i in range(n):
                for k in range(columns):
                    to[k] = source[places[self.first + i] * columns + k]
                to += columns
        return ALONE

    cdef void run_here(self) noexcept nogil:
        """Run the program forward and back for a batch that one thread is enough for."""
        cdef mgc_call *c = &self.call.call
        cdef mgc_cut *cut = &self.cuts[c.n != self.batch]
        cdef mgc_progress progress = mgc_progress(partition=0, block=-1)
        c.block, c.blocks, c.partitions = cut.block, cut.blocks, cut.partitions
        c.partials, c.slice, c.stop, c.careful = self.call.partials.doubles, PY_SSIZE_T_MAX, False, False
        self.call.trouble = 0
        if not self.call.has_shared:
            mgc_run_shared(c)
            self.call.has_shared = True
        if c.n == 1:
            mgc_run_one(c, self.memory)
        else:
            mgc_work(c, 1, self.memory, &progress)
        mgc_finish(c, self.call.sums, self.call.gscalars.doubles)

    cdef bint finish_step(self) noexcept nogil:
        """Take the gradients of the program, and change the parameters; return whether all is finite."""
        cdef double part[MGC_UPDATE_PART]
        cdef double *x = self.numbers.doubles
        cdef double *g = self.grads.doubles
        cdef const double *found = self.call.gscalars.doubles
        cdef Py_ssize_t r, k, n, place, begin = 0, changed = self.changed_count
        cdef mgc_held *rule
        self.loss = self.call.sums[0] * self.call.seeds[0]
        memset(g, 0, changed * sizeof(double))
        for k in range(self.place_count):
            g[self.places[k]] += found[self.scalars[k]]
        if self.check and not self.is_finite():
            return False
        if self.clip >= 0:
            clip_norm(g, changed, self.clip)
        for r in range(self.rule_count):
            rule = &self.rules[r]
            rule.update.begin(rule.update, rule.step + self.steps + 1, rule.first and self.steps == 0)
            place = 0
            while place < rule.count:
                n = min(MGC_UPDATE_PART, rule.count - place)
                memcpy(part, g + begin + place, n * sizeof(double))      # the gradients of the last step remain
                rule.update.change(rule.update, place, n, x + begin + place, part)
                place += n
            begin += rule.count
        self.set_scalars()
        self.end_step()
        return True

    cdef void end_step(self) noexcept nogil:
        """Note the loss, and that the examples had their turn."""
        cdef Py_ssize_t n = self.call.call.n
        self.epoch_loss += self.loss * n
        self.first += n
        self.steps += 1
        if self.first == self.total:
            self.found.doubles[self.epoch] = self.loss if n == self.total else self.epoch_loss / self.total
            self.first = 0
            self.epoch += 1

    cdef bint is_finite(self) noexcept nogil:
        cdef Py_ssize_t i
        cdef bint found = isfinite(self.loss)
        for i in range(self.count):
            found &= isfinite(self.grads.doubles[i])
        return found


cdef void clip_norm(double *g, Py_ssize_t n, double largest) noexcept nogil:
    """What optim.clip_grad_norm_ does."""
    cdef Py_ssize_t i
    cdef double total = 0, factor
    for i in range(n):
        total += g[i] * g[i]
    factor = largest / (sqrt(total) + 1e-6)
    for i in range(n):
        g[i] *= 1.0 if factor > 1 else factor


cdef bint is_same(list a, list b) except -1:
    """Whether two lists have the same objects."""
    cdef Py_ssize_t i
    if len(a) != len(b):
        return False
    for i in range(len(a)):
        if a[i] is not b[i]:
            return False
    return True

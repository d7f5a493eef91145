# Training: steps of an optimizer over the examples of a program, of which no single one needs Python. Changes with what
# a step is. Included by program.pyx.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    PyObject **PySequence_Fast_ITEMS(object)

cdef enum:
    UNHEARD_WORK = SLICE_WORK * 8   # multiplications or so until signals are looked at for the first time

# In seconds: signals are heard within a step that takes so long; between two looks at them, at which all numbers are
# written to where Python sees them.
cdef double LONG_STEP = 0.02
cdef double UNHEARD = 0.06

cdef enum:      # how a run of steps ended
    DONE
    PAUSED
    ALONE       # a step needs Python
    NOT_FINITE

ctypedef struct mgc_cut:            # how a batch of so many examples is cut into blocks
    Py_ssize_t n, block, blocks
    int partitions


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
    cdef Homes homes
    cdef list changed, shared_values    # the parameters that the optimizer changes; Values among the shared inputs
    cdef Doubles found                  # the losses
    cdef list sources                   # the arrays of all examples
    cdef Order order
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
        if self.program is not None:
            raise TypeError("Steps are made once; make new ones")
        self.changed = list(parameters)
        self.shared_values = [] if shared is None or shared.values is None else shared.values
        self.homes = Homes(program, self.changed, self.shared_values)
        self.call = self.homes.call
        self.column_memory = Memory(program.input_count + 1, sizeof(double *))
        self.columns = <const double **>self.column_memory.at
        self.found = Doubles(0)
        self.program = program

    def is_for(self, Program program, list parameters not None, Example shared):
        """Return whether these are of the same program and parameters, and Values in the same shared places."""
        cdef list given = [] if shared is None or shared.values is None else shared.values
        if program is not self.program or len(parameters) != len(self.changed):
            return False
        return is_same(parameters, self.changed) and is_same(given, self.shared_values)

    def forget(self):
        """Forget the examples, whose arrays are not kept: the next run begins an epoch."""
        self.sources, self.order, self.first = None, None, 0

    @property
    def has_hooks(self):
        """Whether a parameter has hooks, which a plain step would not call."""
        cdef Py_ssize_t i
        for i in range(self.homes.count):
            if self.homes.nodes[i].flags & MGC_CLOSURE:
                return True
        return False

    @property
    def losses(self):
        """The mean loss of each epoch that ended in the last run."""
        return [self.found.doubles[i] for i in range(self.epoch)]

    def not_finite(self):
        """Return the first parameter whose gradient is inf or nan, and the gradient; None if there is none."""
        cdef Py_ssize_t i = self.homes.not_finite()
        return None if i < 0 else (self.homes.values[i], self.homes.gradient(i)[0])

    def run(self, tuple arrays, Example shared, list rules not None, Order order not None, Py_ssize_t batch,
            Py_ssize_t epochs, Py_ssize_t most, double clip, bint check, outputs=None, places=None):
        """Take steps, without the GIL as long as nothing asks for it. What was begun in the run before goes on.

        Args:
            arrays, shared: as for `Program.run`.
            rules: for each group of the optimizer its rule, which gives a capsule, how many parameters it has, how many
                steps it has made, its buffers if they are new, and its state, which is told of the steps and of them.
            order: the order of the examples.
            batch: how many examples make a step; what is left at the end of an epoch makes another.
            epochs, most: how many epochs and steps to take at most.
            clip: the largest norm of all gradients of the optimizer's parameters; less than 0 for any.
            check: whether to stop before the update where the loss or a gradient is inf or nan.
            outputs: where to put the outputs of the examples of each epoch in the order of their turns, or None.
            places: where to put the places of these examples, float64 of shape (epochs, n), or None.

        Returns:
            Whether all was finite.

        Raises:
            RuntimeError: a state belongs to another run meanwhile, in another thread.
        """
        cdef Py_ssize_t i
        if self.program is None:
            raise TypeError("these Steps were not initialised: Steps(program, parameters, shared)")
        if self.homes.held is not None:
            raise RuntimeError("these Steps are taken meanwhile, in another thread")
        if order.n >= 1 << 32:
            raise ValueError("there must be less than 2**32 examples")
        self.steps = self.epoch = 0
        try:
            self.set_arrays(arrays, batch)
            if self.total != order.n:
                raise ValueError(f"the order is of {order.n} examples, there are {self.total}")
            self.call.set_seeds([0.0] * self.program.output_count)
            self.call.set_shared(self.program, shared)
            self.homes.set_rules(rules)
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
            self.homes.read()
            if self.first == 0:
                order.begin()
            try:
                return self.take_steps()
            finally:
                self.homes.write(self.steps > 0)
                self.homes.release_rules(self.steps)
                order.end()
        finally:
            self.homes.release_rules(0)
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
        return 0

    cdef bint take_steps(self) except -1:
        cdef double work = self.call.runner.work * self.batch + self.call.runner.work_once + 10 * self.homes.count
        cdef double seconds = self.call.runner.seconds * self.batch
        cdef bint is_shared = seconds >= LEAST_SHARED and self.cuts[0].partitions > 1 and get_num_threads() > 1
        cdef bint is_large = is_shared or seconds >= LONG_STEP
        cdef Py_ssize_t unheard = <Py_ssize_t>(UNHEARD_WORK / (work + 1)) + 1, left = unheard
        cdef Py_ssize_t before
        cdef double begin = perf_counter(), now
        cdef int end = ALONE
        while True:
            before = self.steps
            if is_large:        # threads share in it, or signals are heard meanwhile
                end = self.begin_step()
                self.homes.keep()
            else:
                for i in range(2):
                    self.call.call.block = self.cuts[i].block
                    self.memory = self.call.lane_doubles(0)
                with nogil:
                    end = self.go(left)
            if end == ALONE:
                try:
                    self.run_alone()
                except BaseException:
                    self.homes.restore()
                    raise
                end = PAUSED if self.finish_step() else NOT_FINITE
            if end == DONE:
                return True
            if end == NOT_FINITE:
                return False
            left -= self.steps - before
            if self.first == 0 and not self.is_twister and self.epoch < self.epochs:
                self.homes.write(True)
                self.order.begin()      # which is Python
            if left <= 0:
                self.homes.write(True)
                PyErr_CheckSignals()
                now = perf_counter()
                if now - begin < UNHEARD / 2:
                    unheard *= 2
                elif now - begin > UNHEARD * 2:
                    unheard = max(1, unheard // 2)
                left, begin = unheard, now

    cdef int run_alone(self) except -1:
        """Run the program as a call of its own, once more, carefully, if need be."""
        self.call.run_now(False)
        if self.call.runner.takes and self.homes.has_nan():
            self.call.run_now(True)
        return 0

    cdef int go(self, Py_ssize_t most) noexcept nogil:
        """Take so many steps, or less; return how it ended."""
        cdef Py_ssize_t i
        cdef int end
        for i in range(most):
            end = self.begin_step()
            if end != ALONE:
                return end
            if self.call.runner.takes:
                self.homes.keep()
            self.run_here()
            if self.call.trouble or (self.call.runner.takes and self.homes.has_nan()):
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
        cdef Py_ssize_t n = min(self.batch, self.total - self.first), a, i
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
        c.rows = NULL
        if self.outputs != NULL:
            c.outputs = self.outputs + (self.epoch * self.total + self.first) * c.program.output_count
        if places != NULL:
            c.rows = places + self.first
        for a in range(c.array_count):
            self.call.pointers[a] = self.columns[a] + (self.first * self.call.columns[a] if places == NULL else 0)
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
        self.loss = self.call.sums[0] * self.call.seeds[0]
        self.homes.collect()
        if self.check and not (isfinite(self.loss) and self.homes.is_finite()):
            return False
        if self.clip >= 0:
            self.homes.clip(self.clip)
        self.homes.change(self.steps)
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


cdef bint is_same(list a, list b) except -1:
    """Whether two lists have the same objects."""
    cdef size_t n = len(a)
    if n != <size_t>len(b):
        return False
    return n == 0 or not memcmp(PySequence_Fast_ITEMS(a), PySequence_Fast_ITEMS(b), n * sizeof(PyObject *))

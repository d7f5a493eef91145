# A plan in C: how it is cut into blocks of lanes, and how it is printed. Included by program.pyx.

cdef enum:
    # How many lanes a block has: as many as fit into about a first-level cache, but 48 at least, while what they take
    # is not beyond one core's share of a third-level cache; else fewer, down to 16. If these are far beyond it, memory
    # is gone through as a stream, and 48 do well again. The sizes are fixed: bits do not depend on the machine.
    # A few examples more than that are one block all the same, for which a second-level cache does. So it does for
    # loops, whose steps are gone through again and again.
    CACHE_BYTES = 40 << 10
    SECOND_CACHE_BYTES = 128 << 10
    SHARED_CACHE_BYTES = 6 << 20
    STREAM_BYTES = 16 << 20
    LOOP_BYTES = 256 << 20          # what a block may keep of the carries of loops
    LEAST_LANES = 16
    GOOD_LANES = 48
    MOST_LANES = 264
    MOST_FORCED_LANES = 0x7FFFFFF8  # an int holds it


cdef int lanes_for(Py_ssize_t lane_bytes, bint has_loop) noexcept:
    """How many lanes a block has whose lanes take so much memory."""
    if lane_bytes * GOOD_LANES <= SHARED_CACHE_BYTES:
        cache_bytes = SECOND_CACHE_BYTES if has_loop else CACHE_BYTES
        return min(max(fitting(cache_bytes, lane_bytes), GOOD_LANES), MOST_LANES)
    if lane_bytes * LEAST_LANES > STREAM_BYTES:
        return GOOD_LANES
    return max(fitting(SHARED_CACHE_BYTES, lane_bytes), LEAST_LANES)


cdef int fitting(Py_ssize_t cache_bytes, Py_ssize_t lane_bytes) noexcept:
    return min(cache_bytes // lane_bytes, MOST_LANES) // MGC_LANE_MULTIPLE * MGC_LANE_MULTIPLE


@cython.internal
cdef class Runner:
    """A plan, which stays as it is; and memory of calls that are over, for the next."""
    cdef mgc_plan plan
    cdef mgc_program *program
    cdef list spare
    cdef int lanes
    cdef int lanes_of_all            # up to which all examples are one block
    cdef bint is_free                # whether a block may have fewer
    cdef int wanted                  # FORWARD, …
    cdef double work                 # multiplications of an example, about
    cdef double seconds              # that an example takes one thread: a guess from the work, until it was measured
    cdef bint is_measured
    cdef double work_once            # those of a call, and what it copies
    cdef bint takes                  # whether it has a step that sends nothing to some of its operands
    cdef Indices indices             # those that are computed, or None

    def __cinit__(self, Graph graph, int wanted, lanes):
        cdef mgc_program *p = &self.plan.program
        cdef mgc_step *step
        cdef double kept = 0
        cdef int i
        self.program, self.wanted, self.spare, self.work, self.work_once = p, wanted, [], 0, 0
        if mgc_make_plan(&graph.g, graph.output_list.items, graph.output_list.count, graph.parameter_count,
                         graph.input_count, wanted, &self.plan) < 0:
            raise MemoryError(f"no memory for the steps of a graph of {len(graph):,} expressions")
        for i in range(p.scalar_step_count):
            self.work_once += 4 + mgc_size_of(&p.scalar_steps[i])
        self.work_once += <double>p.parameter_count + p.weight_count
        for i in range(p.lane_step_count):
            step = &p.lane_steps[i]
            self.takes = self.takes or sends_to_some(step)
            self.work += work_of(p, step) * (1 if wanted == FORWARD else 3)
        for i in range(p.scalar_step_count):
            self.takes = self.takes or sends_to_some(&p.scalar_steps[i])
        if p.loop_count:
            self.takes = True        # a result that nobody needs sends nothing
        self.seconds = self.work * SECONDS_OF_WORK
        # What loops keep is gone through as a stream. How much of it that is, does not count, so that bits do not
        # depend on it; but how much it might be does.
        lane_bytes = max(1, p.slot_count) * self.numbers_in_slot() * sizeof(double)
        self.is_free = lanes is None
        self.lanes = lanes_for(lane_bytes, p.loop_count > 0) if lanes is None else lanes
        self.lanes_of_all = 0 if p.loop_count else fitting(SECOND_CACHE_BYTES, lane_bytes)
        if self.is_free and p.loop_count:
            for i in range(p.loop_count):
                kept += <double>p.loops[i].length * p.loops[i].carries * sizeof(double)
            if kept * self.lanes > LOOP_BYTES:
                self.lanes = max(<int>(LOOP_BYTES / kept) // MGC_LANE_MULTIPLE * MGC_LANE_MULTIPLE, LEAST_LANES)

    def __dealloc__(self):
        mgc_free_plan(&self.plan)

    cdef int numbers_in_slot(self) noexcept:
        """For each lane of a slot: its value, and perhaps its gradient."""
        return 1 if self.wanted == FORWARD else 2

    cdef int learn(self, double seconds) except -1:
        """Take note of how long an example took: the least counts, as others may have had the processor meanwhile."""
        if not self.is_measured or seconds < self.seconds:
            self.seconds = seconds
        self.is_measured = True
        return 0

    cdef Call call(self):
        """A call to be made."""
        return self.spare.pop() if self.spare else Call(self)

    cdef Call run(self, Program program, tuple arrays, seeds, bint with_outputs, Example shared, parameters=None,
                  int threads=0, bint with_sums=True):
        """Return a call that is done, and has its results; give it back by `release`."""
        cdef Call call = self.call()
        call.set_arrays(arrays)
        if with_outputs:
            call.set_outputs(new_array((call.call.n, self.program.output_count)), with_sums)
        call.set_seeds(seeds)
        call.set_shared(program, shared)
        if parameters is None:
            call.read_parameters(program)
        else:
            call.set_numbers(program, parameters)
        call.most_threads = threads
        try:
            call.execute()
        finally:
            call.most_threads = 0
        return call

    cdef list steps(self, mgc_step *first, int count):
        """Steps, for printing."""
        cdef list found = []
        cdef mgc_step *s
        cdef int i, j, places
        for i in range(count):
            s = &first[i]
            places = mgc_size_of(s) * mgc_kinds[s.op].rows
            found.append(Step(s.op, (s.x, s.y, s.z), (s.dx, s.dy, s.dz), s.f, s.count, mgc_size_of(s),
                              tuple([self.program.places[s.places + j] for j in range(places)])))
        return found

    def stats(self):
        """See Program.stats."""
        cdef mgc_program *p = self.program
        cdef double operations = 0
        cdef int i
        for i in range(p.scalar_step_count):
            operations += p.scalar_steps[i].count * max(1, mgc_size_of(&p.scalar_steps[i]))
        for i in range(p.lane_step_count):
            operations += work_of(p, &p.lane_steps[i], 1)
        return {
            "inputs": p.input_count, "parameters": p.parameter_count, "outputs": p.output_count,
            "scalar steps": p.scalar_step_count, "lane steps": p.lane_step_count, "operations": int(operations),
            "slots": p.slot_count, "weights": p.weight_count, "lanes": self.lanes,
            "bytes": (<size_t>p.slot_count * self.numbers_in_slot() + p.kept_rows) * self.lanes * sizeof(double),
            "simd": LANES.name.decode(),
        }

    cdef list lines_of(self, mgc_step *first, int count, str indent):
        """Lines for steps over rows, those of a loop below it."""
        cdef mgc_loop *loop
        cdef list lines = []
        for step in self.steps(first, count):
            if step.op != MGC_SCAN:
                lines.append(f"{indent}{text_of(step, 'r')}")
                continue
            loop = &self.program.loops[<int>step.operands[0]]
            lines.append(f"{indent}{loop.length} times{', until all have ended' if loop.ends else ''}, "
                         f"{loop.carries} carries and {loop.xs} xs:")
            lines += self.lines_of(loop.steps, loop.step_count, indent + "  ")
        return lines

    def text(self, program):
        """See Program.__str__."""
        cdef mgc_program *p = self.program
        lines = [repr(program)[1:-1]]
        if p.scalar_step_count:
            lines.append("once a call, of scalars:")
            lines += [f"  {text_of(step, 's')}" for step in self.steps(p.scalar_steps, p.scalar_step_count)]
        lines.append(f"for each {self.lanes} examples, of rows:")
        for i in range(p.broadcast_count):
            lines.append(f"  {place_text('r', p.broadcast_slots[i], 1)} = s{p.broadcast_scalars[i]} in all lanes")
        lines += self.lines_of(p.lane_steps, p.lane_step_count, "  ")
        places = [p.output_places[i] for i in range(p.output_count)]
        lines.append("outputs: " + ", ".join([f"r{place}" if place >= 0 else f"s{-1 - place}" for place in places]))
        return "\n".join(lines)


cdef double work_of(const mgc_program *p, const mgc_step *step, int least=4) noexcept:
    """How many multiplications a step is for an example, about; a row of the table is `least`."""
    return p.loops[step.x].work if step.op == MGC_SCAN else <double>step.count * (mgc_size_of(step) or least)


cdef bint sends_to_some(const mgc_step *step) noexcept:
    """Whether a step sends nothing, not even 0, to some of its operands that something may want a gradient of."""
    return step.op == MGC_STRAIGHT_THROUGH or mgc_kinds[step.op].sends == MGC_TO_ONE


Step = namedtuple("Step", "op operands strides f count k places")


cdef str place_text(str kind, int first, int count, int stride=1):
    """The places, count of them: `r3`, `r3…r8`, or `r3, r5, … r11` where a stride is not 1."""
    if count == 1 or stride == 0:
        return f"{kind}{first}"
    last = first + (count - 1) * stride
    if stride == 1:
        return f"{kind}{first}…{kind}{last}"
    begin = f"{kind}{first}, {kind}{first + stride}"
    return begin if count == 2 else f"{begin}, {'… ' if count > 3 else ''}{kind}{last}"


cdef str text_of(step, str kind):
    cdef const mgc_kind *wide = &mgc_kinds[<int>step.op]
    result = place_text(kind, step.f, step.count)
    if wide.name != NULL:
        index = f" {kind}{step.operands[0]}" if wide.index else ""
        size = f" {step.count} x {step.k}" if wide.bias else ""
        lists = [places_text(kind, step.places[i::wide.rows]) for i in range(wide.rows)] or [f"{step.k} weights"]
        return f"{result} = {wide.name.decode()}{index}{size} of {' and '.join(lists)}"
    name = op_name(step.op)
    operands = list(zip(step.operands, step.strides))[:TABLE[step.op - 1].operands]
    return f"{result} = {name} " + ", ".join([place_text(kind, x, step.count, stride) for x, stride in operands])


cdef str places_text(str kind, tuple places):
    """The places, those one after another as a range; a few ranges at most."""
    ranges = []
    for place in places:
        if ranges and ranges[-1][1] == place:
            ranges[-1][1] += 1
        else:
            ranges.append([place, place + 1])
    texts = [place_text(kind, first, end - first) for first, end in ranges]
    return ", ".join(texts[:4] + [f"… {len(texts) - 4} more"] * (len(texts) > 4))

# From expressions to steps: what needs a gradient, in which order, in which places. Included by program.pyx.

Step = namedtuple("Step", "op x y z f count k places weights receives", defaults=(0, 0, 0, 0, 1, 0, (), 0, 0))


@cython.internal
cdef class Slots:
    """Gives out places of rows; takes them back if they may be reused."""
    cdef int count
    cdef bint reuse
    cdef list free          # (first, how many), sorted

    def __cinit__(self, bint reuse):
        self.count, self.reuse, self.free = 0, reuse, []

    cdef int give(self, int size) except -1:
        """Return the first of `size` places, one after another."""
        for i, (first, length) in enumerate(self.free):
            if length >= size:
                self.free[i:i + 1] = [(first + size, length - size)] if length > size else []
                return first
        self.count += size
        return self.count - size

    cdef int take_back(self, int slot) except -1:
        """A place is free again; free neighbours become one."""
        if not self.reuse:
            return 0
        merged = []
        for first, length in sorted(self.free + [(slot, 1)]):
            if merged and merged[-1][0] + merged[-1][1] == first:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((first, length))
        self.free = merged
        return 0


@cython.internal
cdef class Plan:
    """The steps of a program, and the places of what they read and write.

    wanted: FORWARD, and slots are reused; PARAMETER_GRADIENTS; or INPUT_GRADIENTS, those of the parameters too.
    """
    cdef Expressions expressions
    cdef readonly list scalar_steps, lane_steps, constants, weights, broadcast, outputs, cleared
    cdef readonly int parameter_count, input_count, scalar_count, slot_count, wanted
    cdef dict scalar_places, slot_places
    cdef list needs, levels
    cdef Slots slots

    def __cinit__(self, Sums sums, list outputs, int parameter_count, int input_count, int wanted):
        self.expressions = sums.folded
        self.scalar_steps, self.lane_steps, self.weights, self.broadcast = [], [], [], []
        self.parameter_count, self.input_count, self.wanted = parameter_count, input_count, wanted
        self.slots = Slots(reuse=wanted == FORWARD)
        self.slots.count = input_count
        live = self.find_live(outputs)
        self.find_needs()
        self.place_scalars(live)
        self.place_lanes([e for e in live if self.expressions.varies[e] and self.expressions.ops[e] != INPUT], outputs)
        self.slot_count = self.slots.count
        self.outputs = [self.slot_places[e] if self.expressions.varies[e] else -1 - <int>self.scalar_places[e]
                        for e in outputs]
        self.find_cleared()

    cdef list find_live(self, list outputs):
        """Return the expressions that the outputs depend on, operands first."""
        cdef list is_live = [False] * len(self.expressions.ops)
        for e in outputs:
            is_live[e] = True
        for e in range(len(is_live) - 1, -1, -1):
            if is_live[e]:
                for operand in self.expressions.operands[e]:
                    is_live[operand] = True
        return [e for e in range(len(is_live)) if is_live[e]]

    cdef int find_needs(self) except -1:
        """Find which expressions need a gradient."""
        self.needs = []
        for e, op in enumerate(self.expressions.ops):
            if op == PARAMETER:
                self.needs.append(self.wanted != FORWARD)
            elif op == INPUT:
                self.needs.append(self.wanted == INPUT_GRADIENTS)
            else:
                self.needs.append(self.receives(e) != 0)
        return 0

    cdef int receives(self, int e) except -1:
        """Return which operands receive a gradient that somebody needs: of mgc_receiver, put together."""
        cdef int op = self.expressions.ops[e], bits = 0, i
        cdef tuple operands = self.expressions.operands[e]
        if op == DENSE:
            k = len(operands) // 2
            if any([self.needs[x] for x in operands[:k]]):
                bits |= MGC_OPERANDS_RECEIVE
            if any([self.needs[x] for x in operands[k:]]):
                bits |= MGC_WEIGHTS_RECEIVE
            return bits
        if op < 0 or op >= MGC_TABLE_END:
            return MGC_OPERANDS_RECEIVE if any([self.needs[x] for x in operands]) else 0
        for i in range(len(operands)):
            if self.needs[operands[i]]:
                bits |= MGC_X_RECEIVES << i
        return bits & <int>RECEIVES[op]

    # Scalars

    cdef int place_scalars(self, list live) except -1:
        cdef int place = self.parameter_count
        self.scalar_places, self.constants = {}, []
        for e in live:
            if self.expressions.ops[e] == PARAMETER:
                self.scalar_places[e] = self.expressions.payloads[e]
            elif self.expressions.ops[e] == CONSTANT:
                self.scalar_places[e] = place
                self.constants.append(self.expressions.value_of(e))
                place += 1
        for e in live:
            if not self.expressions.varies[e] and self.expressions.ops[e] >= 0:
                self.scalar_places[e] = place
                self.scalar_steps.append(self.scalar_step(e, place))
                place += 1
        self.scalar_count = place
        return 0

    cdef object scalar_step(self, int e, int place):
        cdef int op = self.expressions.ops[e]
        places = tuple([self.scalar_places[x] for x in self.expressions.operands[e]])
        if op >= MGC_TABLE_END:
            k = len(places) // 2 if op == PRODUCTS else len(places)
            return Step(op, f=place, k=k, places=places, receives=self.receives(e))
        x, y, z = first_three(places)
        return Step(op, x, y, z, place, receives=self.receives(e))

    # Lanes

    cdef int place_lanes(self, list live, list outputs) except -1:
        """Go through the expressions level by level, those of one kind together, so that they become one step."""
        self.slot_places = {e: self.expressions.payloads[e]
                            for e in range(len(self.expressions.ops)) if self.expressions.ops[e] == INPUT}
        self.levels = [0] * len(self.expressions.ops)
        by_level = defaultdict(list)
        for e in live:
            operands = self.expressions.operands[e]
            if self.expressions.ops[e] == DENSE:
                operands = operands[:len(operands) // 2]      # the weights that follow are not rows
            for operand in operands:
                if self.expressions.varies[operand]:
                    self.levels[e] = max(self.levels[e], self.levels[operand] + 1)
                elif not self.takes_weights(e):
                    self.place_broadcast(operand)
            by_level[self.levels[e]].append(e)
        last_uses = {operand: 0 for e in live for operand in self.expressions.operands[e]
                     if self.expressions.varies[operand] and self.expressions.ops[operand] != INPUT}
        for e in live:
            for operand in self.expressions.operands[e]:
                if operand in last_uses:
                    last_uses[operand] = max(last_uses[operand], self.levels[e])
        unused_after = defaultdict(list)
        for e in last_uses.keys() - set(outputs):
            unused_after[last_uses[e]].append(e)
        for level in sorted(by_level):
            self.place_level(by_level[level])
            for e in sorted(unused_after[level]):
                self.slots.take_back(self.slot_places[e])
        return 0

    cdef bint takes_weights(self, int e):
        """Whether a step takes one of several weights, which are not rows."""
        values = self.expressions.operands[e][1:]
        return self.expressions.ops[e] == TAKE and not any([self.expressions.varies[x] for x in values])

    cdef int place_broadcast(self, int e) except -1:
        if e not in self.slot_places:
            self.slot_places[e] = self.slots.give(1)
            self.broadcast.append((self.scalar_places[e], self.slot_places[e]))
        return 0

    cdef int place_level(self, list expressions) except -1:
        layers, rows = {}, {}
        for e in expressions:
            op = self.expressions.ops[e]
            operands = self.expressions.operands[e]
            if op == DENSE:
                layers.setdefault(operands[:len(operands) // 2], []).append(e)
            elif op < MGC_TABLE_END:
                rows.setdefault(op, []).append((tuple([self.slot_places[x] for x in operands]), e))
            else:
                self.place_wide(e)
        for operands, members in layers.items():
            self.place_layer(operands, members)
        for op, members in rows.items():
            members.sort()
            first = 0
            for i in range(1, len(members) + 1):
                if i == len(members) or not follows(members[i - 1][0], members[i][0]):
                    self.place_row(op, members[first:i])
                    first = i
        return 0

    cdef int place_row(self, int op, list members) except -1:
        """One step for an operation on operands in places one after another."""
        slot = self.slots.give(len(members))
        bits = 0
        for i, (_, e) in enumerate(members):
            self.slot_places[e] = slot + i
            bits |= self.receives(e)
        x, y, z = first_three(members[0][0])
        self.lane_steps.append(Step(op, x, y, z, slot, len(members), receives=bits))
        return 0

    cdef int place_layer(self, tuple operands, list members) except -1:
        """One step for dot products of the same rows."""
        slot, k = self.slots.give(len(members)), len(operands)
        first = len(self.weights)
        for e in members:
            self.weights += [self.scalar_places[w] for w in self.expressions.operands[e][k:2 * k]]
        bits = 0
        for i, e in enumerate(members):
            self.slot_places[e] = slot + i
            self.weights.append(self.scalar_places[self.expressions.operands[e][2 * k]])
            bits |= self.receives(e)
        places = tuple([self.slot_places[x] for x in operands])
        step = Step(DENSE, f=slot, count=len(members), k=k, places=places, weights=first, receives=bits)
        self.lane_steps.append(step)
        return 0

    cdef int place_wide(self, int e) except -1:
        """A step for an operation of any number of operands."""
        cdef int op = self.expressions.ops[e]
        operands = self.expressions.operands[e]
        receives, slot = self.receives(e), self.slots.give(1)
        self.slot_places[e] = slot
        index = self.slot_places[operands[0]] if op in (TAKE, CROSS_ENTROPY) else 0
        values = operands[1:] if op in (TAKE, CROSS_ENTROPY) else operands
        if self.takes_weights(e):
            step = Step(MGC_TAKE_WEIGHT, index, f=slot, k=len(values), weights=len(self.weights), receives=receives)
            self.weights += [self.scalar_places[x] for x in values]
        else:
            k = len(values) // 2 if op == PRODUCTS else len(values)
            places = tuple([self.slot_places[x] for x in values])
            step = Step(op, index, f=slot, k=k, places=places, receives=receives)
        self.lane_steps.append(step)
        return 0

    cdef int find_cleared(self) except -1:
        """Find the rows of gradients that begin at 0: all but those a dense layer is the first to write, going back."""
        cdef set written = {place for place in self.outputs if place >= 0}, assigned = set()
        for i in range(len(self.lane_steps) - 1, -1, -1):
            step = self.lane_steps[i]
            places = set(step.places)
            is_first = len(places) == len(step.places) and not places & written
            if step.op == DENSE and step.receives & MGC_OPERANDS_RECEIVE and is_first:
                self.lane_steps[i] = step._replace(receives=step.receives | MGC_OPERANDS_RECEIVE_FIRST)
                assigned |= places
            elif step.op < MGC_TABLE_END:
                places = {first + j for first in (step.x, step.y, step.z) for j in range(step.count)}
            written |= places
        self.cleared = []
        for slot in range(self.slot_count):
            if slot in assigned:
                continue
            if self.cleared and sum(self.cleared[-1]) == slot:
                self.cleared[-1] = (self.cleared[-1][0], self.cleared[-1][1] + 1)
            else:
                self.cleared.append((slot, 1))
        return 0


cdef bint follows(tuple before, tuple places):
    return all([b == a + 1 for a, b in zip(before, places)])


cdef tuple first_three(tuple places):
    """Three places, 0 where there are fewer."""
    return (places + (0, 0, 0))[:3]

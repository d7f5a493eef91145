# cython: boundscheck=True, wraparound=True
"""Program: a graph of Values, recorded once and replayed over many examples at once."""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.math cimport floor, isfinite, isnan, sqrt
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memcpy, memset

from microgradc.engine.float64 cimport view_float64
from microgradc.engine.value cimport *
from microgradc.program.graph cimport *

import os
import sys
from collections import namedtuple

from microgradc.cells import in_a_cell
from microgradc.engine.value import TABLE, CompileError
from microgradc.program.in_cells import page_of_program

include "lanes/levels.pxi"

cdef extern from "program/replay.h":
    ctypedef enum mgc_receiver:
        MGC_X_RECEIVES, MGC_Y_RECEIVES, MGC_Z_RECEIVES
        MGC_OPERANDS_RECEIVE, MGC_WEIGHTS_RECEIVE, MGC_OPERANDS_RECEIVE_FIRST

    ctypedef struct mgc_step:
        int op, x, y, z, dx, dy, dz, f, count, k, places, weights, receives

    int mgc_size_of(const mgc_step *)

    ctypedef struct mgc_loop:
        mgc_step *steps
        int step_count, length, carries, xs, ys, slot_count, fed, next
        bint ends
        double work

    ctypedef struct mgc_program:
        mgc_step *scalar_steps
        mgc_step *lane_steps
        int scalar_step_count, lane_step_count
        int *places
        int scalar_count, parameter_count, weight_count
        int run_count
        int *run_weights
        int *run_scalars
        int *run_sizes
        int input_count, slot_count, broadcast_count
        int *broadcast_scalars
        int *broadcast_slots
        int output_count
        int *output_places
        int careful_rows
        mgc_loop *loops
        int loop_count, kept_rows, kept_of_one

    ctypedef struct mgc_call:
        const mgc_program *program
        const mgc_lanes *lanes
        Py_ssize_t n, block, blocks
        int partitions, array_count
        const double **arrays
        const int *array_columns
        const Py_ssize_t *rows
        double *outputs
        bint skips_sums
        const double *seeds
        bint careful
        double **input_grads
        double *scalars
        double *weights
        double *partials
        Py_ssize_t slice
        int stop
        int *trouble
        int (*hear)(void *) noexcept nogil
        void *hearer

    ctypedef struct mgc_progress:
        int partition
        Py_ssize_t block

    enum:
        WRONG_INDEX "MGC_WRONG_INDEX"
        INTERRUPTED "MGC_INTERRUPTED"
        NUMBERS_OF_ONE "MGC_NUMBERS_OF_ONE"
    bint mgc_is_none(double)
    Py_ssize_t mgc_partial_size(const mgc_program *)
    void mgc_run_shared(const mgc_call *) nogil
    void mgc_run_one(const mgc_call *, double *memory) nogil
    bint mgc_work(const mgc_call *, int workers, double *memory, mgc_progress *) nogil
    void mgc_finish(const mgc_call *, double *sums, double *gscalars) nogil

cdef extern from "program/planning.h":
    enum:      # what is wanted of a run
        FORWARD "MGC_FORWARD"
        PARAMETER_GRADIENTS "MGC_PARAMETER_GRADIENTS"
        INPUT_GRADIENTS "MGC_INPUT_GRADIENTS"         # and those of the parameters

    ctypedef struct mgc_plan:
        mgc_program program
        mgc_ints index_inputs, index_limits
        mgc_ints weights, constant_places
        double *constants

    int mgc_make_plan(const mgc_graph *, const int *outputs, int output_count, int parameter_count, int input_count,
                      int wanted, mgc_plan *) except? -1
    void mgc_free_plan(mgc_plan *)

__all__ = ["Program", "get_num_threads", "set_num_threads"]

cdef list ONE_SEED = [1.0]

include "numpys.pxi"
include "doubles.pxi"
include "threads.pxi"
include "examples.pxi"
include "indices.pxi"
include "runner.pxi"
include "running.pxi"
include "order.pxi"
include "homes.pxi"
include "training.pxi"
include "later.pxi"
include "sums_of_parts.pxi"
include "watching.pxi"
include "latest.pxi"
include "derived.pxi"
include "pickling.pxi"
include "low_level.pxi"


cdef Graph require_steps(Graph graph):
    """Return a graph if there is a step for each of its operations."""
    cdef int e, op
    for e in range(graph.g.count):
        op = graph.g.op[e]
        if MGC_TABLE_END <= op < MGC_OPS_END and mgc_kinds[op].name == NULL:
            raise CompileError(f"{op_name(op)} has no step of a program; use other operations")
    for loop in graph.loop_list:
        require_steps((<Loop>loop).body)
    return graph


cdef bint same_bits(double x, double y) noexcept:
    return not memcmp(&x, &y, sizeof(double))


cdef bint is_lane_count(object lanes):
    return isinstance(lanes, int) and 0 < lanes <= MOST_FORCED_LANES and lanes % MGC_LANE_MULTIPLE == 0


@cython.no_gc_clear
cdef class Program:
    """A graph of Values, made ready to be replayed over many examples at once.

    The inputs become the columns of a batch. All other leaves are parameters: they are read at each call, and get the
    gradients. What depends on no input is computed once a call. While it runs, the GIL is released; results have the
    same bits for every number of threads.

    Args:
        outputs: a Value, or a list of them.
        inputs: leaves, in the order of the columns.
        shared: further leaves whose numbers come with each call, the same for all examples.
        lanes: how many examples to go through at once, a multiple of 8; by default, as many as fit into the cache.

    Attributes:
        parameters: the other leaves that the outputs depend on, a tuple.

    Raises:
        TypeError: an output or an input is not a Value.
        ValueError: an input is not a leaf or comes twice; there is no output; lanes is not a positive multiple of 8.
        CompileError: a node has a rule of its own: a closure, local gradients.

    >>> x, w = Value(1.0), Value(3.0)
    >>> program = Program((w * x).tanh(), [x])
    >>> import numpy as np
    >>> program(np.array([[0.0], [1.0]])).round(6).tolist()
    [[0.0], [0.995055]]
    """

    cdef readonly tuple parameters
    cdef readonly int input_count, output_count, shared_count
    cdef object lanes
    cdef Graph recorded, graph   # as it was recorded; as it is run, None until then
    cdef Indices indices         # those that are computed; None until it is run, and if there are none
    cdef tuple leaves            # those that are no inputs; None for one that the function makes itself, each time
    cdef tuple numbers           # of these, and None for parameters
    cdef double largest
    cdef list runners            # by what is wanted; None until it was
    cdef SharedLeaves shared     # the parameters
    cdef mgc_node **nodes        # the same

    def __init__(self, outputs, inputs, *, lanes=None, shared=()):
        if self.nodes != NULL:
            raise TypeError("a Program is made once; make a new one")
        outputs = [outputs] if isinstance(outputs, Value) else list(outputs)
        inputs = list(inputs)
        shared = list(shared)
        for name, values in (("outputs", outputs), ("inputs", inputs), ("shared", shared)):
            for i, v in enumerate(values):
                if not isinstance(v, Value):
                    raise TypeError(f"{name}[{i}] must be a Value, got {type(v).__name__} {v!r:.40}")
        if not outputs:
            raise ValueError("outputs must have at least one Value, got none")
        given = inputs + shared
        for i, v in enumerate(given):
            if (<Value>v).node.op != MGC_LEAF:
                raise ValueError(f"inputs[{i}] must be a leaf, got the result of {v._op!r}")
        if len({id(v) for v in given}) < len(given):
            raise ValueError("inputs must be different Values, one comes twice")
        if lanes is not None and not is_lane_count(lanes):
            raise ValueError(f"lanes must be a positive multiple of {MGC_LANE_MULTIPLE}, at most {MOST_FORCED_LANES}, "
                             f"got {lanes!r}")
        cdef Graph recorded = Graph()
        cdef list leaves = []
        cdef double largest = record(recorded, outputs, inputs, shared, leaves)
        if self.nodes != NULL:       # what was read above may have run Python code, which made this one
            raise TypeError("a Program is made once; make a new one")
        self.set_parameters(tuple(leaves))
        self.recorded, self.largest = recorded, largest
        self.leaves, self.numbers = self.parameters, (None,) * len(leaves)
        self.input_count, self.output_count, self.shared_count = len(inputs), len(outputs), len(shared)
        self.lanes = lanes

    cdef int set_parameters(self, tuple parameters) except -1:
        cdef SharedLeaves shared = SharedLeaves(parameters)
        cdef mgc_node **nodes = <mgc_node **>PyMem_Malloc((len(parameters) + 1) * sizeof(mgc_node *))
        if nodes == NULL:
            raise MemoryError(f"no memory for a program of {len(parameters):,} parameters")
        for i in range(len(parameters)):
            nodes[i] = mgc_node_of((<PyTupleObject *>parameters).ob_item[i])
        PyMem_Free(self.nodes)
        self.nodes, self.parameters, self.shared = nodes, parameters, shared
        self.runners, self.graph = [None] * (INPUT_GRADIENTS + 1), None
        return 0

    def __dealloc__(self):
        PyMem_Free(self.nodes)

    def __reduce__(self):
        self.require_initialised()
        return program_of, (self.recorded, list(self.leaves), list(self.numbers), self.largest, self.lanes,
                            self.shared_count)

    cdef int require_initialised(self) except -1:
        if self.nodes == NULL:
            raise TypeError("this Program was not initialised: Program(outputs, inputs)")
        return 0

    cdef Runner runner(self, int wanted):
        """What runs the program: for FORWARD, PARAMETER_GRADIENTS or INPUT_GRADIENTS."""
        self.require_initialised()
        found = self.runners[wanted]
        if found is None:
            if self.graph is None:
                self.indices = computed_indices(self.recorded)
                self.graph = require_steps(sums(simplify(self.known_graph())))
                if "program" in os.environ.get("MICROGRADC_DEBUG", "").split(","):
                    self.print_stages()
            found = Runner(self.graph, wanted, self.lanes)
            (<Runner>found).indices = self.indices
            PyErr_CheckSignals()
            self.runners[wanted] = found
        return found

    cdef int print_stages(self) except -1:
        for name, graph in self.stages.items():
            print(f"{self!r}, {name}:", graph, sep="\n", file=sys.stderr)
        return 0

    cdef Graph known_graph(self):
        """The recorded graph, in which leaves that the function makes itself are constants."""
        if len(self.parameters) == len(self.leaves):
            return self.recorded
        return known(self.recorded, [*[None] * self.shared_count, *self.numbers])

    @property
    def stages(self) -> dict:
        """The graphs that the passes made one after another, by name; the last one is run."""
        self.require_initialised()
        recorded = self.known_graph()
        simplified = simplify(recorded)
        return {"recorded": recorded, "simplify": simplified, "sums": sums(simplified)}

    def __call__(self, *arrays):
        """Return the outputs of n examples: float64 of shape (n, number of outputs).

        Args:
            arrays: the inputs: C-contiguous float64 arrays of shape (n, …), whose columns side by side are the inputs.
        """
        return self.run(arrays, seeds=None, with_outputs=True, with_input_grads=False)[1]

    def run(self, tuple arrays, seeds, bint with_outputs, bint with_input_grads, Example shared=None, parameters=None,
            int threads=0, bint with_sums=True):
        """Run the program over n examples.

        Args:
            arrays: see `__call__`.
            seeds: for each output, what the gradients are multiplied with; None for no gradients.
            with_outputs: whether to return the outputs of each example.
            with_input_grads: whether to return the gradients of the inputs.
            shared: an Example of the shared inputs' numbers, if there are such.
            parameters: a float64 array of other numbers for the parameters, for this call; by default, those that they
                have.
            threads: how many to use at most; 0 for as many as `set_num_threads` said.
            with_sums: whether to sum the outputs up where they are returned.

        Returns:
            The sum of each output over the examples, a list, or 0 for each; the outputs, an array of shape (n, number
            of outputs), or None; the gradients of the shared inputs and then of the parameters, a float64 array, or
            None; those of the inputs, a list of arrays of the shapes of `arrays`, or None. Gradients are those of the
            sum over examples and outputs of seed times output.
        """
        cdef int wanted = FORWARD if seeds is None else INPUT_GRADIENTS if with_input_grads else PARAMETER_GRADIENTS
        cdef Call call = self.runner(wanted).run(
            self, arrays, seeds, with_outputs, shared, parameters, threads, with_sums)
        results = call.sums_list(), call.outputs, call.parameter_gradients(), call.input_grads
        call.release()
        return results

    def totals(self, tuple arrays, double factor, list input_values=None, Example shared=None):
        """Return for each output the sum over the examples times a factor, a Value: a node over the parameters.

        Args:
            arrays: see `__call__`.
            factor: 1 for the sum, 1 / n for the mean.
            input_values: for each number in the arrays, in order, a Value that gets its gradient, or None.
            shared: an Example of the shared inputs' numbers, if there are such; Values in it get their gradients.
        """
        cdef int wanted = self.wanted_now(input_values)
        cdef list shared_values = None if shared is None else shared.values
        cdef Call call = self.runner(wanted).run(
            self, arrays, [factor] if wanted != FORWARD else None, False, shared)
        return self.totals_of(call, arrays, factor, input_values, shared_values)

    cdef list totals_of(self, Call call, tuple arrays, double factor, list input_values, list shared_values):
        """The sums of a call that is done, times a factor, as Values."""
        cdef Later later
        if self.output_count == 1:
            results = [self.node(call, factor, input_values, shared_values)]
        else:
            later = None
            if grad_enabled():    # the arrays are the caller's, who may change them
                later = Later(tuple([numpy().array(a, float, order="C", ndmin=1) for a in arrays]))
            results = self.nodes_of(call, factor, input_values, shared_values, later)
        call.release()
        return results

    def example(self, Example example not None):
        """Return the outputs of one example, Values: nodes over the parameters and the example's Values."""
        cdef Call call = self.runner(self.wanted_now(example.values)).call()
        call.set_row(example.numbers, example.count)
        call.set_shared(self, None)
        return self.one_example(call, example.values)

    cdef list one_example(self, Call call, list input_values):
        """The outputs of a call whose example was read, as Values."""
        call.set_seeds(ONE_SEED if call.runner.wanted != FORWARD else None)
        call.read_parameters(self)
        call.execute()
        if self.output_count == 1:
            results = [self.node(call, 1.0, input_values, None)]
        else:
            results = self.nodes_of(call, 1.0, input_values, None, Later(call.copied_row()) if grad_enabled() else None)
        call.release()
        return results

    cdef int wanted_now(self, list input_values) except -1:
        """What the first run of a call has to find: for several outputs no gradients, which are found when asked for.
        """
        if self.output_count > 1 or not grad_enabled():
            return FORWARD
        return PARAMETER_GRADIENTS if input_values is None else INPUT_GRADIENTS

    cdef list nodes_of(self, Call call, double factor, list input_values, list shared_values, Later later):
        """The sums of the call's outputs, times a factor, as nodes that send their gradients on by one run."""
        cdef list numbers = [call.sums[k] * factor for k in range(self.output_count)]
        cdef list given = [v for v in [*(input_values or []), *(shared_values or [])] if v is not None]
        if later is None:
            return [Value(x) for x in numbers]
        later.begin(self, call, factor, input_values, shared_values)
        if given or call.parameter_flags & (MGC_CLOSURE | MGC_TRACKED):
            return joint_nodes(numbers, (*self.parameters, *given), None, later)
        return joint_nodes(numbers, self.parameters, self.shared, later)

    cdef object node(self, Call call, double factor, list input_values, list shared_values):
        """The sum of the call's one output, times a factor, as a node."""
        cdef Py_ssize_t i, count = len(self.parameters)
        cdef double total = call.sums[0] * factor
        cdef list children
        cdef Doubles local
        cdef const double *grads = call.gscalars.doubles + self.shared_count
        if call.call.seeds == NULL:
            return Value(total)
        if input_values is None and shared_values is None:
            if call.parameter_flags & (MGC_CLOSURE | MGC_TRACKED):
                return custom_node(total, self.parameters, grads)
            return shared_node(total, self.shared, grads)
        children = list(self.parameters)
        local = Doubles(count + len(input_values or []) + self.shared_count)
        memcpy(local.doubles, grads, count * sizeof(double))
        for i, grad in enumerate(call.input_gradients() if input_values is not None else []):
            if input_values[i] is not None:
                local.doubles[len(children)] = grad
                children.append(<Value?>input_values[i])
        for i, value in enumerate(shared_values or []):
            if value is not None:
                local.doubles[len(children)] = call.gscalars.doubles[i]
                children.append(<Value?>value)
        return custom_node(total, tuple(children), local.doubles)

    def add_gradients(self, tuple arrays, seeds):
        """Add the gradients of the sum of seed times output to the parameters; return the sums and all outputs."""
        cdef Call call = self.runner(PARAMETER_GRADIENTS).run(self, arrays, seeds, True, None)
        cdef Py_ssize_t i, count = len(self.parameters)
        cdef const double *grads = call.gscalars.doubles
        cdef mgc_node **nodes = self.nodes
        cdef bint has_hooks = call.parameter_flags & MGC_CLOSURE
        for i in range(count):
            nodes[i].grad += grads[i] if not has_hooks else received(<Value>self.parameters[i], grads[i])
        results = call.sums_list(), call.outputs
        call.release()
        return results

    def has_same_graph(self, list outputs, list inputs, bint again=False, list shared=None) -> bool:
        """Return whether other outputs come from other inputs the same way, with the same constants and parameters.

        Args:
            outputs, inputs: of the other graph.
            again: whether the other graph was recorded right after this one. Then leaves that are not the same Values
                are no parameters, if their numbers are the same: the function makes them itself, as constants. Later
                on, the others must be the same Values.
            shared: the shared inputs of the other graph.
        """
        cdef Graph other = Graph()
        cdef list leaves = []
        cdef bint has_new = False
        self.require_initialised()
        if shared is None:
            shared = []
        for v in outputs + inputs + shared:
            if not isinstance(v, Value):
                raise TypeError(f"outputs and inputs must be Values, got {type(v).__name__} {v!r:.40}")
        record(other, outputs, inputs, shared, leaves)
        if self.recorded != other:
            return False
        if has_entries(leaves, self.leaves):
            return True
        for i, (ours, theirs) in enumerate(zip(self.leaves, leaves)):
            if ours is theirs:
                continue
            number = (<Value>theirs).node.data
            if ours is None:
                if not same_bits(number, self.numbers[i]):
                    return False
            elif not again or not same_bits(number, (<Value>ours).node.data):
                return False
            has_new = has_new or ours is not None
        if has_new:
            numbers = tuple([number if ours is None else None if ours is theirs else (<Value>theirs).node.data
                             for ours, theirs, number in zip(self.leaves, leaves, self.numbers)])
            kept = tuple([ours if ours is theirs else None for ours, theirs in zip(self.leaves, leaves)])
            self.set_parameters(tuple([v for v in kept if v is not None]))
            self.numbers, self.leaves = numbers, kept
        return True

    def largest_number(self) -> float:
        """Return the size of the largest finite number in the recorded graph."""
        self.require_initialised()
        return self.largest

    def stats(self) -> dict:
        """Return how large the program is: numbers of inputs, parameters, steps, …; bytes for a block of examples."""
        return self.runner(PARAMETER_GRADIENTS).stats()

    def __str__(self):
        return self.runner(PARAMETER_GRADIENTS).text(self)

    def __repr__(self):
        if self.recorded is None:
            return "<Program: not made yet>"
        return f"<Program: {self.input_count} inputs, {len(self.parameters)} parameters, {self.output_count} outputs>"

    def _repr_html_(self):
        return in_a_cell(page_of_program, self, self.recorded)

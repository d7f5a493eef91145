# Programs without the Values that they were recorded from: in pickles and files. Included by program.pyx.


def program_of(Graph recorded not None, list leaves not None, list numbers not None, double largest=0.0, lanes=None,
               int shared_count=0):
    """Return a Program of a recorded graph.

    Args:
        recorded: a Graph.
        leaves: for each of its parameters after the shared ones a Value, or None for one whose number is known.
        numbers: for each a number if it is known, or None.
        largest: see `Program.largest_number`.
        lanes: see `Program`.
        shared_count: how many of its parameters, the first ones, are shared inputs.

    Raises:
        ValueError: there are more or fewer leaves than parameters, or the graph has no outputs.
        TypeError: a leaf is not a Value.
    """
    cdef Program made = Program.__new__(Program)
    cdef int count = recorded.parameter_count - shared_count
    if shared_count < 0 or count < 0:
        raise ValueError(f"some of {recorded.parameter_count} parameters are shared, got {shared_count}")
    if len(leaves) != count or len(numbers) != count:
        raise ValueError(f"there must be {count} leaves and numbers, got {len(leaves)} and "
                         f"{len(numbers)}")
    if not recorded.output_list.count:
        raise ValueError("the graph must have an output, got none")
    for leaf, number in zip(leaves, numbers):
        if not isinstance(leaf, Value) and (leaf is not None or not isinstance(number, float)):
            raise TypeError(f"each leaf must be a Value, or None with a number, got {leaf!r:.40} and {number!r:.40}")
    made.set_parameters(tuple([v for v in leaves if v is not None]))
    made.recorded, made.leaves, made.numbers, made.largest = recorded, tuple(leaves), tuple(numbers), largest
    made.input_count, made.output_count = recorded.input_count, recorded.output_list.count
    made.lanes, made.shared_count = lanes, shared_count
    return made


def recorded_graph(Program program not None) -> Graph:
    """Return the graph that a program was recorded as, before any pass; numbers that are known are constants in it."""
    program.require_initialised()
    return program.known_graph()

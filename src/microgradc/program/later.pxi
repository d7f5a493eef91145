# Gradients of a call with several outputs: found when a backward pass asks for them. Included by program.pyx.


@cython.internal
@cython.final
cdef class Later:
    """What a call was made with, to run it once more for the gradients of those outputs that a backward pass reaches.

    Args:
        given: the numbers of one example, or arrays, which stay as they are.
    """
    cdef Program program
    cdef object given
    cdef Doubles parameters         # as they were then
    cdef double factor
    cdef list input_values, shared_values

    def __init__(self, given):
        self.given = given

    cdef int begin(self, Program program, Call call, double factor, list input_values, list shared_values) except -1:
        cdef size_t count = len(program.parameters) + program.shared_count
        self.program, self.factor, self.input_values = program, factor, input_values
        self.shared_values = shared_values
        self.parameters = Doubles(count)
        memcpy(self.parameters.doubles, call.scalars.doubles, count * sizeof(double))
        return 0

    def __call__(self, list seeds):
        """Add gradients to the parameters and to the Values among the arguments.

        Args:
            seeds: for each output the gradient that it got; -0.0 if it is in no graph that is gone through.
        """
        cdef Call call = self.run(seeds)
        cdef Program program = self.program
        cdef Py_ssize_t i
        for i in range(len(program.parameters)):
            program.nodes[i].grad += call.gscalars.doubles[program.shared_count + i]
        if self.input_values is not None:
            for value, grad in zip(self.input_values, call.input_gradients()):
                if value is not None:
                    (<Value>value).node.grad += <double>grad
        for i, value in enumerate(self.shared_values or []):
            if value is not None:
                (<Value>value).node.grad += call.gscalars.doubles[i]
        call.release()

    def local_gradients(self, list seeds):
        """Return what would be added to each parameter, and then to each Value among the arguments."""
        cdef Call call = self.run(seeds)
        cdef Py_ssize_t i, shared = self.program.shared_count
        cdef list gradients = [call.gscalars.doubles[shared + i] for i in range(len(self.program.parameters))]
        if self.input_values is not None:
            for value, grad in zip(self.input_values, call.input_gradients()):
                if value is not None:
                    gradients.append(grad)
        for i, value in enumerate(self.shared_values or []):
            if value is not None:
                gradients.append(call.gscalars.doubles[i])
        call.release()
        return gradients

    cdef Call run(self, list seeds):
        cdef Program program = self.program
        cdef Runner runner = program.runner(PARAMETER_GRADIENTS if self.input_values is None else INPUT_GRADIENTS)
        cdef Call call = runner.call()
        if isinstance(self.given, Doubles):
            call.set_row((<Doubles>self.given).doubles, runner.program.input_count)
        else:
            call.set_arrays(self.given)
        call.set_seeds([seed * self.factor for seed in seeds])
        call.set_parameters(self.parameters.doubles)
        call.execute()
        return call

# cython: cdivision=True
"""The loops of `optim` over a list of parameters. Everything is checked before the first of them changes.

The formulas are those of PyTorch's single-tensor optimizers, with the roundings in the same order; each loop names its source there.
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from libc.math cimport INFINITY, fabs, isnan, pow, sqrt
from libc.string cimport memcmp

from microgradc.engine.float64 cimport view_float64
from microgradc.engine.value cimport MGC_LEAF, Value, mgc_node, read_number, tracing

from microgradc.engine.value import refuse

cdef extern from "Python.h":
    PyObject **PySequence_Fast_ITEMS(object)

cdef extern from "engine/node.h":
    ctypedef struct mgc_object:
        mgc_node node

__all__ = ["Known", "adam", "check", "clamp_grads", "grad_norm", "rmsprop", "scale_grads", "sgd"]


cdef class Buffer:
    """The float64 numbers of an array, one for each parameter; no numbers for None."""
    cdef Py_buffer view
    cdef double *numbers
    cdef str name

    def __cinit__(self, array, str name):
        cdef bint is_float64
        self.name = name
        if array is None:
            return
        try:
            is_float64 = view_float64(array, &self.view, True)
        except (BufferError, TypeError, ValueError) as error:
            raise self.unfit(describe(array)) from error
        if not is_float64 or self.view.ndim != 1:
            raise self.unfit(describe(array))
        self.numbers = <double *>self.view.buf

    def __dealloc__(self):
        PyBuffer_Release(&self.view)

    cdef object unfit(self, str found):
        return ValueError(f"{self.name} must be a writable float64 array with one number for each parameter, got {found}")


cdef str describe(object o):
    return "None" if o is None else f"{type(o).__qualname__} {repr(o)[:60]}"


cdef inline mgc_node *node_of(PyObject *value) noexcept nogil:
    return &(<mgc_object *>value).node


cdef class Known:
    """A list of parameters that has passed all checks, as a tuple: it owns them, and what is a leaf remains one."""
    cdef tuple params

    def __cinit__(self):
        self.params = ()

    def __reduce__(self):
        return Known, ()     # a copy's parameters are others


cdef int remember(Known known, list params) except -1:
    """Check a list of parameters, unless it is known; this allocates, so it comes before `require`."""
    cdef size_t size = len(params) * sizeof(PyObject *)
    if len(known.params) != len(params) or memcmp(PySequence_Fast_ITEMS(params), PySequence_Fast_ITEMS(known.params), size):
        copy = tuple(params)
        require(list(copy), True)
        known.params = copy
    return 0


# From here until the loop ends nothing may run Python code, which could change the list; so nothing is allocated, for the garbage
# collector runs finalizers.
cdef Py_ssize_t require(list params, bint leaves, Buffer a=None, Buffer b=None, Buffer c=None, Known known=None) except -1:
    """Return the number of parameters; raise unless all are Values (leaves, if so asked) and each buffer has one number for each.

    `known`: a list that has passed is soon seen to be the same.
    """
    cdef Py_ssize_t i = 0
    cdef size_t size = len(params) * sizeof(PyObject *)
    if tracing():
        refuse("an update")
    cdef tuple seen = () if known is None else known.params
    if len(seen) == len(params) and not memcmp(PySequence_Fast_ITEMS(params), PySequence_Fast_ITEMS(seen), size):
        i = len(params)
    for p in params if not i else ():
        if not isinstance(p, Value):
            advice = "; pass list(array.flat) for an array of Values" if hasattr(p, "flat") else ""
            raise TypeError(f"params[{i}] must be a Value, got {describe(p)}{advice}")
        if leaves and (<Value>p).node.op != MGC_LEAF:
            raise ValueError(f"params[{i}] must be a leaf, a Value that was not computed from others, got the result of {p._op!r}")
        i += 1
    require_length(a, i)
    require_length(b, i)
    require_length(c, i)
    return i


cdef int require_length(Buffer buffer, Py_ssize_t n) except -1:
    if buffer is not None and buffer.numbers != NULL and buffer.view.shape[0] != n:
        raise buffer.unfit(f"{buffer.view.shape[0]} for {n}; was the list of parameters changed?")
    return 0


def check(list params not None, dict buffers not None):
    """Raise what an update of these parameters with these buffers, arrays by name, would raise."""
    cdef Buffer buffer
    require(params, True)
    for name, array in buffers.items():
        buffer = Buffer(array, name)
        if array is None:
            raise buffer.unfit("None")
        require_length(buffer, len(params))


def sgd(list params not None, Known known not None, momentum_buffer, bint first, *, double lr, double momentum, double dampening,
        double weight_decay, bint nesterov, bint maximize):
    """Take a step of stochastic gradient descent. `first`: momentum_buffer has no numbers yet, and gets the gradients."""
    remember(known, params)
    cdef Buffer b = Buffer(momentum_buffer if momentum != 0 else None, "momentum_buffer")
    cdef Py_ssize_t n = require(params, True, b, None, None, known), i
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef double *buffer = b.numbers
    cdef bint with_momentum = buffer != NULL
    cdef mgc_node *p
    cdef double g
    for i in range(n):     # torch/optim/sgd.py, _single_tensor_sgd
        p = node_of(items[i])
        g = -p.grad if maximize else p.grad
        if weight_decay != 0:
            g += weight_decay * p.data
        if with_momentum:
            buffer[i] = g if first else buffer[i] * momentum + (1 - dampening) * g
            g = g + momentum * buffer[i] if nesterov else buffer[i]
        p.data += -lr * g


cdef inline double lerp(double x, double y, double weight) noexcept nogil:
    """x + weight (y - x), from the nearer end, as aten/src/ATen/native/Lerp.h has it."""
    return x + weight * (y - x) if weight < 0.5 else y - (y - x) * (1 - weight)


def adam(list params not None, Known known not None, exp_avg, exp_avg_sq, max_exp_avg_sq, *, double step_size, double root_correction,
         double beta1, double beta2, double eps, double weight_decay, double decay, bint maximize):
    """Take a step of Adam.

    Args:
        max_exp_avg_sq: None for no AMSGrad.
        step_size: the learning rate, divided by the bias correction of the first moment.
        root_correction: the square root of the bias correction of the second moment.
        weight_decay: what is added to the gradient for each unit of the parameter.
        decay: what the parameter is multiplied with before the step (AdamW), 1 for nothing.
    """
    remember(known, params)
    cdef Buffer b1 = Buffer(exp_avg, "exp_avg"), b2 = Buffer(exp_avg_sq, "exp_avg_sq"), b3 = Buffer(max_exp_avg_sq, "max_exp_avg_sq")
    if b1.numbers == NULL or b2.numbers == NULL:
        raise (b1 if b1.numbers == NULL else b2).unfit("None")
    cdef Py_ssize_t n = require(params, True, b1, b2, b3, known), i
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef double *m = b1.numbers
    cdef double *v = b2.numbers
    cdef double *largest = b3.numbers
    cdef mgc_node *p
    cdef double g, second
    for i in range(n):     # torch/optim/adam.py, _single_tensor_adam
        p = node_of(items[i])
        g = -p.grad if maximize else p.grad
        p.data *= decay
        if weight_decay != 0:
            g += weight_decay * p.data
        m[i] = lerp(m[i], g, 1 - beta1)
        v[i] = v[i] * beta2 + (1 - beta2) * g * g
        second = v[i]
        if largest != NULL:
            if second > largest[i] or isnan(second):
                largest[i] = second
            second = largest[i]
        p.data += -step_size * m[i] / (sqrt(second) / root_correction + eps)


def rmsprop(list params not None, Known known not None, square_avg, grad_avg, momentum_buffer, *, double lr, double alpha, double eps,
            double weight_decay, double momentum, bint maximize):
    """Take a step of RMSprop. grad_avg is None for the variant that is not centred, momentum_buffer for none."""
    remember(known, params)
    cdef Buffer b1 = Buffer(square_avg, "square_avg"), b2 = Buffer(grad_avg, "grad_avg")
    cdef Buffer b3 = Buffer(momentum_buffer, "momentum_buffer")
    if b1.numbers == NULL:
        raise b1.unfit("None")
    cdef Py_ssize_t n = require(params, True, b1, b2, b3, known), i
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef double *squares = b1.numbers
    cdef double *means = b2.numbers
    cdef double *buffer = b3.numbers
    cdef mgc_node *p
    cdef double g, variance
    for i in range(n):     # torch/optim/rmsprop.py, _single_tensor_rmsprop
        p = node_of(items[i])
        g = -p.grad if maximize else p.grad
        if weight_decay != 0:
            g += weight_decay * p.data
        squares[i] = squares[i] * alpha + (1 - alpha) * g * g
        variance = squares[i]
        if means != NULL:
            means[i] = lerp(means[i], g, 1 - alpha)
            variance -= means[i] * means[i]
        if buffer != NULL:
            buffer[i] = buffer[i] * momentum + g / (sqrt(variance) + eps)
            p.data += -lr * buffer[i]
        else:
            p.data += -lr * g / (sqrt(variance) + eps)


def grad_norm(list params not None, double p):
    """Return the p-norm of all gradients together, as torch.linalg.vector_norm: p may be infinite, or 0 to count those that are not."""
    cdef Py_ssize_t n = require(params, False), i
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef double x, total = INFINITY if p == -INFINITY and n else 0
    for i in range(n):
        x = fabs(node_of(items[i]).grad)
        if p == 2:
            total += x * x
        elif p == INFINITY:
            total = x if x > total or isnan(x) else total
        elif p == -INFINITY:
            total = x if x < total or isnan(x) else total
        elif p == 0:
            total += x != 0
        else:
            total += pow(x, p)
    if p == 2:
        return sqrt(total)
    return total if n == 0 or p in (0, INFINITY, -INFINITY) else pow(total, 1 / p)


def scale_grads(list params not None, double factor):
    """Multiply all gradients with a factor."""
    cdef Py_ssize_t n = require(params, False), i
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    for i in range(n):
        node_of(items[i]).grad *= factor


def clamp_grads(list params not None, double largest):
    """Put all gradients into [-largest, largest]; nan stays nan."""
    cdef Py_ssize_t n = require(params, False), i
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef mgc_node *p
    for i in range(n):
        p = node_of(items[i])
        if p.grad > largest:
            p.grad = largest
        elif p.grad < -largest:
            p.grad = -largest

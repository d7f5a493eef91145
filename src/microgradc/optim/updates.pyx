# cython: cdivision=True
"""The loops of `optim` over a list of parameters. Everything is checked before the first of them changes.

The formulas, in `rules.h`, are those of PyTorch's single-tensor optimizers, with the roundings in the same order.
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fabs, isfinite, isnan, pow, sqrt
from libc.string cimport memcmp

from microgradc.engine.float64 cimport view_float64
from microgradc.engine.value cimport (
    MGC_LEAF, Value, describe, leaf_version, mgc_node, mgc_node_of, tracing, zero_gradients,
)

from microgradc.engine.value import refuse

cdef extern from "Python.h":
    PyObject **PySequence_Fast_ITEMS(object)

cdef extern from "optim/rules.h":
    enum:
        MGC_UPDATE_BUFFERS

    ctypedef struct mgc_update:
        void (*begin)(mgc_update *, Py_ssize_t step, bint first)
        void (*change)(const mgc_update *, Py_ssize_t, Py_ssize_t, double *, double *)
        double *buffers[MGC_UPDATE_BUFFERS]

    ctypedef struct mgc_sgd:
        double lr, momentum, dampening, weight_decay
        bint nesterov, maximize

    ctypedef struct mgc_adam:
        double lr, beta1, beta2, eps, weight_decay, decay
        bint maximize

    ctypedef struct mgc_rmsprop:
        double lr, alpha, eps, weight_decay, momentum
        bint maximize

    ctypedef struct mgc_adagrad:
        double lr, lr_decay, weight_decay, initial, eps
        bint maximize

    ctypedef struct mgc_nadam:
        double lr, beta1, beta2, eps, weight_decay, decay, momentum_decay
        bint maximize

    ctypedef union mgc_rule:
        mgc_update update
        mgc_sgd sgd
        mgc_adam adam
        mgc_rmsprop rmsprop
        mgc_adagrad adagrad
        mgc_nadam nadam

    void mgc_begin_sgd(mgc_update *, Py_ssize_t, bint)
    void mgc_begin_adam(mgc_update *, Py_ssize_t, bint)
    void mgc_begin_rmsprop(mgc_update *, Py_ssize_t, bint)
    void mgc_begin_adagrad(mgc_update *, Py_ssize_t, bint)
    void mgc_begin_nadam(mgc_update *, Py_ssize_t, bint)
    void mgc_change_sgd(const mgc_update *, Py_ssize_t, Py_ssize_t, double *, double *)
    void mgc_change_adam(const mgc_update *, Py_ssize_t, Py_ssize_t, double *, double *)
    void mgc_change_rmsprop(const mgc_update *, Py_ssize_t, Py_ssize_t, double *, double *)
    void mgc_change_adagrad(const mgc_update *, Py_ssize_t, Py_ssize_t, double *, double *)
    void mgc_change_nadam(const mgc_update *, Py_ssize_t, Py_ssize_t, double *, double *)
    void mgc_change_values(const mgc_update *, PyObject **items, Py_ssize_t n)

__all__ = [
    "Held", "Known", "adagrad", "adam", "clamp_grads", "grad_norm", "nadam", "not_finite", "require_parameters",
    "rmsprop", "scale_grads", "sgd", "zero_grad",
]


cdef class Known:
    """A list of parameters that has passed all checks, as a tuple: it owns them, and what is a leaf remains one."""
    cdef tuple params

    def __cinit__(self):
        self.params = ()

    def __reduce__(self):
        return Known, ()     # a copy's parameters are others

    cdef bint has(self, list params) noexcept:
        """Whether these are the parameters, the same objects in the same order."""
        cdef size_t n = len(params)
        return n == <size_t>len(self.params) and (n == 0 or not memcmp(
            PySequence_Fast_ITEMS(params), PySequence_Fast_ITEMS(self.params), n * sizeof(PyObject *)
        ))

    cdef int remember(self, list params) except -1:
        """Check a list of parameters, unless it is known."""
        if not self.has(params):
            copy = tuple(params)
            require(list(copy), True)
            if len({id(p) for p in copy}) < len(copy):
                raise ValueError("params must be different Values, one comes twice")
            self.params = copy
        return 0


cdef enum:
    MOST = MGC_UPDATE_BUFFERS


cdef class Buffers:
    """The numbers of up to MOST float64 arrays, which have one for each of n parameters; NULL for None."""
    cdef Py_ssize_t n
    cdef double *numbers[MOST]
    cdef Py_buffer views[MOST]
    cdef tuple names

    def __cinit__(self, tuple names, tuple arrays):
        cdef Py_ssize_t i
        self.names = names
        for i in range(len(arrays)):
            if arrays[i] is not None:
                self.read(i, arrays[i])

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(MOST):
            PyBuffer_Release(&self.views[i])

    cdef int read(self, Py_ssize_t i, object array) except -1:
        cdef Py_buffer *view = &self.views[i]
        cdef bint is_float64
        try:
            is_float64 = view_float64(array, view, True)
        except (BufferError, TypeError, ValueError) as error:
            raise self.unfit(TypeError, i, describe_array(array)) from error
        if not is_float64:
            raise self.unfit(TypeError, i, describe_array(array))
        if view.ndim != 1:
            raise self.unfit(ValueError, i, describe_array(array))
        self.numbers[i] = <double *>view.buf
        return 0

    cdef int require_length(self, Py_ssize_t n) except -1:
        cdef Py_ssize_t i
        for i in range(MOST):
            if self.numbers[i] != NULL and self.views[i].shape[0] != n:
                found = f"{self.views[i].shape[0]} for {n}; was the list of parameters changed?"
                raise self.unfit(ValueError, i, found)
        self.n = n
        return 0

    cdef object unfit(self, type error, Py_ssize_t i, str found):
        expected = "a writable float64 array with one number for each parameter"
        return error(f"{self.names[i]} must be {expected}, got {found}")


cdef str describe_array(object array):
    dtype = getattr(array, "dtype", None)
    return describe(array) if dtype is None else f"{describe(array)}, dtype {dtype}"


# Between this and the end of a loop nothing may run Python code, which could change the list. So nothing is allocated
# there: the garbage collector runs finalizers.
cdef Py_ssize_t require(list params, bint leaves) except -1:
    """Return the number of parameters; raise unless all are Values (leaves, if so asked)."""
    cdef Py_ssize_t i = 0
    if tracing():
        refuse("an update")
    for p in params:
        if not isinstance(p, Value):
            advice = "; pass list(array.flat) for an array of Values" if hasattr(p, "flat") else ""
            raise TypeError(f"params[{i}] must be a Value, got {describe(p)}{advice}")
        if leaves and (<Value>p).node.op != MGC_LEAF:
            expected = "a leaf, a Value that was not computed from others"
            raise ValueError(f"params[{i}] must be {expected}, got the result of {p._op!r}")
        i += 1
    return i


cdef Buffers begin(list params, Known known, tuple names, tuple arrays, Py_ssize_t needed):
    """Check all that a step needs, and return its buffers; the first `needed` of the arrays must not be None."""
    cdef Py_ssize_t i
    known.remember(params)
    cdef Buffers buffers = Buffers(names, arrays)
    for i in range(needed):
        if buffers.numbers[i] == NULL:
            raise buffers.unfit(TypeError, i, "None")
    # What was allocated above may have changed the list; see `require`.
    if tracing() or not known.has(params):
        require(params, True)
    buffers.require_length(len(params))
    return buffers


def zero_grad(list params not None, Known known not None):
    """Set the gradient of each parameter to 0."""
    known.remember(params)
    if tracing() or not known.has(params):
        require(params, True)
    zero_gradients(params)


def not_finite(list params not None, Known known not None):
    """Return the place of the first parameter whose gradient is inf or nan; -1 if there is none."""
    cdef Buffers none = begin(params, known, (), (), 0)
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef Py_ssize_t i
    cdef bint found = False
    for i in range(none.n):     # to the end, so that nothing depends on what came before
        found |= not isfinite(mgc_node_of(items[i]).grad)
    if found:
        for i in range(none.n):
            if not isfinite(mgc_node_of(items[i]).grad):
                return i
    return -1


def require_parameters(list params not None, dict buffers not None, Known known=None):
    """Raise what a step over these parameters with these buffers, arrays by name, would raise."""
    if known is None:
        known = Known()
    known.remember(params)
    for name, array in buffers.items():
        begin(params, known, (name,), (array,), 1)


cdef class Held:
    """The rule of a group of parameters, as a loop in C takes it: its settings, and its buffers, which it owns."""
    cdef mgc_rule rule
    cdef Buffers buffers

    def capsule(self):
        """Return a capsule of an `mgc_update`, which this must outlive."""
        if self.buffers is None:
            raise ValueError("there is no rule yet")
        return PyCapsule_New(&self.rule.update, "microgradc.update", NULL)

    def __reduce__(self):
        return Held, ()     # a copy's buffers are others


cdef int apply(mgc_rule *rule, list params, Buffers buffers, Py_ssize_t step, bint first, Held held) except -1:
    """Take a step by a rule; if there is a place for it, put it there instead."""
    cdef Py_ssize_t i
    for i in range(MOST):
        rule.update.buffers[i] = buffers.numbers[i]
    if held is not None:
        held.rule, held.buffers = rule[0], buffers
        return 0
    rule.update.begin(&rule.update, step, first)
    leaf_version[0] += 1
    mgc_change_values(&rule.update, PySequence_Fast_ITEMS(params), buffers.n)
    return 0


def sgd(list params not None, Known known not None, momentum_buffer, bint first, Held held=None, *, double lr,
        double momentum, double dampening, double weight_decay, bint nesterov, bint maximize):
    """Take a step of stochastic gradient descent.

    Args:
        momentum_buffer: not used if momentum is 0.
        first: whether momentum_buffer has no numbers yet; it gets the gradients.
        held: where the rule is put, instead of a step.
    """
    cdef Buffers buffers = begin(params, known, ("momentum_buffer",), (momentum_buffer if momentum != 0 else None,), 0)
    cdef mgc_rule rule
    rule.update.begin, rule.update.change = mgc_begin_sgd, mgc_change_sgd
    rule.sgd.lr, rule.sgd.momentum, rule.sgd.dampening, rule.sgd.weight_decay = lr, momentum, dampening, weight_decay
    rule.sgd.nesterov, rule.sgd.maximize = nesterov, maximize
    apply(&rule, params, buffers, 1, first, held)


def adam(list params not None, Known known not None, exp_avg, exp_avg_sq, max_exp_avg_sq, Py_ssize_t step,
         Held held=None, *, double lr, double beta1, double beta2, double eps, double weight_decay, double decay,
         bint maximize):
    """Take a step of Adam.

    Args:
        max_exp_avg_sq: None for no AMSGrad.
        step: the number of the step, from 1.
        held: where the rule is put, instead of a step.
        weight_decay: what is added to the gradient for each unit of the parameter.
        decay: what the parameter is multiplied with before the step (AdamW), 1 for nothing.
    """
    cdef Buffers buffers = begin(
        params, known, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), (exp_avg, exp_avg_sq, max_exp_avg_sq), 2
    )
    cdef mgc_rule rule
    rule.update.begin, rule.update.change = mgc_begin_adam, mgc_change_adam
    rule.adam.lr, rule.adam.beta1, rule.adam.beta2, rule.adam.eps = lr, beta1, beta2, eps
    rule.adam.weight_decay, rule.adam.decay, rule.adam.maximize = weight_decay, decay, maximize
    apply(&rule, params, buffers, step, False, held)


def rmsprop(list params not None, Known known not None, square_avg, grad_avg, momentum_buffer, Held held=None, *,
            double lr, double alpha, double eps, double weight_decay, double momentum, bint maximize):
    """Take a step of RMSprop. grad_avg is None for the variant that is not centred, momentum_buffer for none.

    Args:
        held: where the rule is put, instead of a step.
    """
    cdef Buffers buffers = begin(
        params, known, ("square_avg", "grad_avg", "momentum_buffer"), (square_avg, grad_avg, momentum_buffer), 1
    )
    cdef mgc_rule rule
    rule.update.begin, rule.update.change = mgc_begin_rmsprop, mgc_change_rmsprop
    rule.rmsprop.lr, rule.rmsprop.alpha, rule.rmsprop.eps = lr, alpha, eps
    rule.rmsprop.weight_decay, rule.rmsprop.momentum, rule.rmsprop.maximize = weight_decay, momentum, maximize
    apply(&rule, params, buffers, 1, False, held)


def adagrad(list params not None, Known known not None, sum, Py_ssize_t step, bint first, Held held=None, *, double lr,
            double lr_decay, double weight_decay, double initial_accumulator_value, double eps, bint maximize):
    """Take a step of Adagrad.

    Args:
        step: the number of the step, from 1.
        first: whether sum has no numbers yet; it begins with initial_accumulator_value.
        held: where the rule is put, instead of a step.
    """
    cdef Buffers buffers = begin(params, known, ("sum",), (sum,), 1)
    cdef mgc_rule rule
    rule.update.begin, rule.update.change = mgc_begin_adagrad, mgc_change_adagrad
    rule.adagrad.lr, rule.adagrad.lr_decay, rule.adagrad.weight_decay = lr, lr_decay, weight_decay
    rule.adagrad.initial, rule.adagrad.eps, rule.adagrad.maximize = initial_accumulator_value, eps, maximize
    apply(&rule, params, buffers, step, first, held)


def nadam(list params not None, Known known not None, exp_avg, exp_avg_sq, mu_product, Py_ssize_t step, bint first,
          Held held=None, *, double lr, double beta1, double beta2, double eps, double weight_decay, double decay,
          double momentum_decay, bint maximize):
    """Take a step of NAdam; weight_decay and decay are as for `adam`.

    Args:
        step: the number of the step, from 1.
        first: whether mu_product has no numbers yet; it begins with 1.
        held: where the rule is put, instead of a step.
    """
    cdef Buffers buffers = begin(
        params, known, ("exp_avg", "exp_avg_sq", "mu_product"), (exp_avg, exp_avg_sq, mu_product), 3
    )
    cdef mgc_rule rule
    rule.update.begin, rule.update.change = mgc_begin_nadam, mgc_change_nadam
    rule.nadam.lr, rule.nadam.beta1, rule.nadam.beta2, rule.nadam.eps = lr, beta1, beta2, eps
    rule.nadam.weight_decay, rule.nadam.decay = weight_decay, decay
    rule.nadam.momentum_decay, rule.nadam.maximize = momentum_decay, maximize
    apply(&rule, params, buffers, step, first, held)


def grad_norm(list params not None, double p):
    """Return the p-norm of all gradients together, as torch.linalg.vector_norm.

    p may be infinite, or 0 to count the gradients that are not 0.
    """
    cdef Py_ssize_t n = require(params, False), i
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef double x, total = INFINITY if p == -INFINITY and n else 0
    for i in range(n):
        x = fabs(mgc_node_of(items[i]).grad)
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
        mgc_node_of(items[i]).grad *= factor


def clamp_grads(list params not None, double largest):
    """Put all gradients into [-largest, largest]; nan stays nan."""
    cdef Py_ssize_t n = require(params, False), i
    cdef PyObject **items = PySequence_Fast_ITEMS(params)
    cdef mgc_node *p
    for i in range(n):
        p = mgc_node_of(items[i])
        if p.grad > largest:
            p.grad = largest
        elif p.grad < -largest:
            p.grad = -largest

# no_grad. Included by value.pyx; which blocks are in force where, is in modes.h.

from cpython.exc cimport PyErr_Clear

cdef extern from "engine/modes.h":
    ctypedef struct PyFrameObject
    ctypedef struct mgc_block:
        bint is_left_behind
    PyFrameObject *mgc_owner_of_block()
    mgc_block *mgc_open_block() except NULL
    bint mgc_is_block_of(const mgc_block *, const PyFrameObject *)
    void mgc_close_block(mgc_block *)
    ctypedef struct mgc_enabling:
        bint is_open
    bint mgc_hide_blocks(mgc_enabling *)
    bint mgc_show_blocks(mgc_enabling *)


cdef class Blocks:
    """The blocks that one no_grad object has open, the last one last."""
    cdef mgc_block **open
    cdef Py_ssize_t count, capacity

    def __dealloc__(self):
        for i in range(self.count):
            self.open[i].is_left_behind = True
        PyMem_Free(self.open)

    cdef int enter(self) except -1:
        reserve(<void **>&self.open, &self.capacity, self.count + 1, sizeof(self.open[0]))
        self.open[self.count] = mgc_open_block()
        self.count += 1
        return 0

    cdef int leave(self) except -1:
        cdef Py_ssize_t i, last = self.count - 1
        cdef PyFrameObject *owner
        cdef mgc_block *block
        if last < 0:
            raise RuntimeError("no_grad was left more often than entered")
        if last > 0:    # one object may be entered by several generators and threads: each leaves its own
            owner = mgc_owner_of_block()
            PyErr_Clear()    # without memory for frames, it leaves the last one
            for i in range(self.count):
                if mgc_is_block_of(self.open[i], owner):
                    last = i
            Py_XDECREF(<PyObject *>owner)
        block = self.open[last]
        for i in range(last, self.count - 1):
            self.open[i] = self.open[i + 1]
        self.count -= 1
        mgc_close_block(block)
        return 0


class no_grad:
    """Make results without operands: no graph is kept. A context manager, and a decorator.

    As `torch.no_grad`: `with no_grad(): …`, `@no_grad()` or `@no_grad`, also of generators, coroutines and methods.
    Blocks may be nested. A block is in force for the thread that enters it, whatever is called meanwhile. Entered in a
    generator or coroutine, it is in force for this and what it calls, but not while it is suspended; so tasks of
    asyncio do not disturb each other.

    Args:
        f: a function to decorate.

    >>> x = Value(2.0)
    >>> with no_grad():
    ...     y = x * 3
    >>> y, y._prev
    (Value(data=6.0, grad=0), set())
    """

    def __new__(cls, f=None):
        self = object.__new__(cls)
        self._blocks = Blocks()
        return self if f is None else self(f)

    def __enter__(self):
        refuse_while_tracing("no_grad")
        (<Blocks>self._blocks).enter()
        return self

    # Three arguments, and not any number: a tuple for them may find no memory, and the block would stay in force.
    def __exit__(self, kind=None, error=None, trace=None):
        (<Blocks>self._blocks).leave()

    def __reduce__(self):
        return type(self), ()       # a copy has no blocks open

    def __call__(self, f):
        from microgradc.engine.resumed import wrap
        wrapper = wrap(f, no_grad)
        if wrapper is not None:
            return wrapper

        @wraps(f)
        def without_graph(*args, **kwargs):
            with no_grad():
                return f(*args, **kwargs)
        return without_graph


cdef class EnableGrad:
    """While this context lasts, results remember their operands, whatever no_grad() blocks are open around it.

    For a function that trains, which may be called within one. Blocks that are entered meanwhile are in force.

    Raises:
        RuntimeError: it is entered twice, or in a generator or coroutine; or left where it is not the last one entered.
    """
    cdef mgc_enabling enabling

    def __enter__(self):
        if self.enabling.is_open:
            raise RuntimeError("an EnableGrad is entered once at a time; make another one")
        if not mgc_hide_blocks(&self.enabling):
            raise RuntimeError("EnableGrad cannot be entered in a generator or coroutine, which may be suspended while "
                               "it lasts; enter it in a function that this calls")
        Py_INCREF(self)        # others refer to what is in it

    def __exit__(self, kind=None, error=None, trace=None):
        if not mgc_show_blocks(&self.enabling):
            raise RuntimeError("an EnableGrad is left by the thread that entered it, the last one first")
        Py_DECREF(self)

/* Whether gradients are enabled here, whether this thread traces a function, and who looks at new nodes. Changes with
 * these switches.
 *
 * Everything here runs with the GIL held, and is asked for each new node. So nobody pays for looking anything up
 * while no no_grad() block is open, no function is traced and nobody observes, in any thread.
 *
 * A block lasts for its thread from its entry to its exit, whoever calls whom meanwhile: a counter of the thread. But a
 * block that was entered in a generator or a coroutine lasts only while that runs: while it is suspended, what others
 * do is not the block's business, and it may go on in another thread. So such a block remembers the frame of the
 * generator. It is in force where this frame is among those that are running, from the current one up.
 */
#ifndef MGC_MODES_H
#define MGC_MODES_H

#include <Python.h>

#ifdef Py_GIL_DISABLED
#error "microgradc needs a CPython with the GIL, which guards its counters and its nodes"
#endif

#ifdef _MSC_VER
#define MGC_THREAD_LOCAL __declspec(thread)
#else
#define MGC_THREAD_LOCAL _Thread_local
#endif

/* Of a function that is called in a mode alone: it takes no room in who calls it. */
#ifdef __GNUC__
#define MGC_RARELY __attribute__((noinline, cold))
#else
#define MGC_RARELY
#endif

/* How many functions are being traced (tracing.pxi). */
static Py_ssize_t mgc_tracing_anywhere;
static MGC_THREAD_LOCAL Py_ssize_t mgc_tracing_here;

static inline int mgc_tracing(void) { return mgc_tracing_anywhere && mgc_tracing_here; }

static inline void mgc_trace(int by)
{
    mgc_tracing_anywhere += by;
    mgc_tracing_here += by;
}

/* How many modes are on, in any thread, that see to new nodes: no_grad() blocks, and observers. */
static Py_ssize_t mgc_modes_anywhere;

/* How many observers (observing.pxi) of this thread note where a node is made, and look whether its number is finite.
   */
static MGC_THREAD_LOCAL Py_ssize_t mgc_noting_here, mgc_detecting_here;

/* What a trace computes with is made up, and no one's business. */
static inline int mgc_noting(void) { return mgc_modes_anywhere && mgc_noting_here && !mgc_tracing(); }
static inline int mgc_detecting(void) { return mgc_modes_anywhere && mgc_detecting_here && !mgc_tracing(); }

static inline void mgc_note(Py_ssize_t by)
{
    mgc_modes_anywhere += by;
    mgc_noting_here += by;
}

static inline void mgc_detect(Py_ssize_t by)
{
    mgc_modes_anywhere += by;
    mgc_detecting_here += by;
}

/* How many of a thread are open that were not entered in a generator. It outlives its thread: a block may be left
   in another. */
typedef struct {
    Py_ssize_t blocks;
    Py_ssize_t hidden;      /* more of them, which are not in force: EnableGrad */
} mgc_thread_blocks;

static MGC_THREAD_LOCAL mgc_thread_blocks *mgc_no_grad_here;

/* An open block. It belongs to a thread or to the frame of a generator; the other is NULL. */
typedef struct mgc_block {
    mgc_thread_blocks *thread;
    PyFrameObject *frame;
    int is_left_behind;             /* nobody can leave it any more */
    struct mgc_block *next;         /* among those of generators */
} mgc_block;

static mgc_block *mgc_generators_blocks;

static inline int mgc_is_generator(PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    const int flags = code->co_flags;
    Py_DECREF(code);
    return flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR);
}

/* The current frame, or the one that called a frame, whose reference is given up; NULL if there is none. */
static inline PyFrameObject *mgc_current_frame(void)
{
    PyFrameObject *frame = PyEval_GetFrame();
    Py_XINCREF((PyObject *)frame);
    return frame;
}

static inline PyFrameObject *mgc_caller(PyFrameObject *frame)
{
    PyFrameObject *caller = PyFrame_GetBack(frame);
    Py_DECREF(frame);
    return caller;
}

/* Gradients that are enabled within blocks. */
typedef struct mgc_enabling {
    int is_open;
    Py_ssize_t blocks;              /* of the thread, that are not in force meanwhile */
    PyFrameObject *frame;           /* which did it: blocks of the generators around it are not in force either */
    struct mgc_enabling *around;
} mgc_enabling;

static MGC_THREAD_LOCAL mgc_enabling *mgc_enabled;      /* the last one of this thread */

/* A generator's frame: this one, or the first of those that called it. None beyond where gradients were enabled, for
   nothing that began since can be suspended with that. Takes a reference over and gives one. */
static PyFrameObject *mgc_generator_from(PyFrameObject *frame)
{
    while (frame && !mgc_is_generator(frame)) {
        if (mgc_enabled && frame == mgc_enabled->frame) {
            Py_DECREF(frame);
            return NULL;
        }
        frame = mgc_caller(frame);
    }
    return frame;
}

/* Whether a generator runs, in any thread, itself or what it calls. */
static inline int mgc_is_running(const mgc_block *block)
{
    PyObject *generator = PyFrame_GetGenerator(block->frame);
    if (!generator) return 0;
#if PY_VERSION_HEX < 0x030E0000
    const int is = ((PyGenObject *)generator)->gi_frame_state == 0;     /* FRAME_EXECUTING; of coroutines the same */
#else
    const int is = 1;       /* not to be seen there: look among the frames */
#endif
    Py_DECREF(generator);
    return is;
}

/* Whether this code runs in a no_grad() block, if some are open. Frames are looked through only while a generator that
   has a block runs. Each is an object for that; without memory for one, the graph is kept. */
static int mgc_is_in_block(void)
{
    if (mgc_no_grad_here && mgc_no_grad_here->blocks > 0) return 1;
    int is_running = 0;
    for (mgc_block *b = mgc_generators_blocks; b && !is_running; b = b->next) is_running = mgc_is_running(b);
    if (!is_running) return 0;
    for (PyFrameObject *frame = mgc_current_frame(); frame; frame = mgc_caller(frame)) {
        if (mgc_enabled && frame == mgc_enabled->frame) {
            Py_DECREF(frame);
            return 0;
        }
        if (!mgc_is_generator(frame)) continue;
        for (mgc_block *b = mgc_generators_blocks; b; b = b->next) {
            if (b->frame != frame) continue;
            Py_DECREF(frame);
            return 1;
        }
    }
    PyErr_Clear();
    return 0;
}

/* What is traced is recorded with its graph, whatever block the trace was begun in. */
static inline int mgc_grad_enabled(void) { return !mgc_modes_anywhere || mgc_tracing() || !mgc_is_in_block(); }

/* Enable gradients from the current frame on. Returns 0 if that frame is a generator's, which could be suspended
   meanwhile, for others to have gradients enabled. */
static int mgc_hide_blocks(mgc_enabling *e)
{
    PyFrameObject *frame = mgc_current_frame();
    if (frame && mgc_is_generator(frame)) {
        Py_DECREF(frame);
        return 0;
    }
    *e = (mgc_enabling){.frame = frame, .around = mgc_enabled, .is_open = 1};
    e->blocks = mgc_no_grad_here ? mgc_no_grad_here->blocks : 0;
    mgc_enabled = e;
    if (!e->blocks) return 1;
    mgc_no_grad_here->blocks = 0;
    mgc_no_grad_here->hidden += e->blocks;
    return 1;
}

/* What was in force before is again. Returns 0 if that is not for e to say: it is not the last one, or of another
   thread. */
static int mgc_show_blocks(mgc_enabling *e)
{
    PyFrameObject *frame = e->frame;
    if (!e->is_open || mgc_enabled != e) return 0;
    mgc_enabled = e->around;
    if (e->blocks) {
        mgc_no_grad_here->blocks += e->blocks;
        mgc_no_grad_here->hidden -= e->blocks;
    }
    *e = (mgc_enabling){0};
    Py_XDECREF((PyObject *)frame);
    return 1;
}

/* Whether a block belongs to a generator's frame; or, where that is NULL, to this thread. */
static inline int mgc_is_block_of(const mgc_block *block, const PyFrameObject *frame)
{
    return block->frame == frame && (frame || block->thread == mgc_no_grad_here);
}

static void mgc_close_block(mgc_block *block)
{
    if (block->frame) {
        mgc_block **link = &mgc_generators_blocks;
        while (*link != block) link = &(*link)->next;
        *link = block->next;
    } else {
        block->thread->blocks--;        /* the counter stays: its thread may be alive */
    }
    mgc_modes_anywhere--;
    PyObject *frame = (PyObject *)block->frame;
    PyMem_Free(block);
    Py_XDECREF(frame);
}

static inline int mgc_is_of_contextlib(PyFrameObject *frame)
{
    PyObject *globals = PyFrame_GetGlobals(frame);
    PyObject *name = PyDict_GetItemString(globals, "__name__");
    const int is = name && PyUnicode_Check(name) && !PyUnicode_CompareWithASCIIString(name, "contextlib");
    Py_DECREF(globals);
    return is;
}

/* The frame of the generator or coroutine to which a block entered now belongs, a new reference; NULL if it is its
   thread's. What contextlib does for a `with` statement counts as done by that statement: a generator made into a
   context manager has its blocks for whoever enters it. */
static PyFrameObject *mgc_owner_of_block(void)
{
    PyFrameObject *frame = mgc_current_frame();
    while ((frame = mgc_generator_from(frame))) {
        PyFrameObject *caller = PyFrame_GetBack(frame);
        const int is_own = !mgc_is_of_contextlib(frame) && !(caller && mgc_is_of_contextlib(caller));
        if (is_own) {
            Py_XDECREF(caller);
            return frame;
        }
        Py_DECREF(frame);
        frame = caller;
    }
    return NULL;
}

/* Close the blocks that nobody will leave, of generators that have ended. */
static void mgc_close_blocks_left_behind(void)
{
    for (mgc_block *next, *b = mgc_generators_blocks; b; b = next) {
        next = b->next;
        if (!b->is_left_behind) continue;
        PyObject *generator = PyFrame_GetGenerator(b->frame);
        if (!generator) mgc_close_block(b);
        Py_XDECREF(generator);
    }
}

/* Open a block of the generator whose frame this is, or of this thread. NULL with MemoryError. */
static mgc_block *mgc_open_block(void)
{
    mgc_close_blocks_left_behind();
    PyFrameObject *frame = mgc_owner_of_block();
    if (PyErr_Occurred()) {
        Py_XDECREF((PyObject *)frame);
        return NULL;
    }
    if (!frame && !mgc_no_grad_here && !(mgc_no_grad_here = PyMem_Calloc(1, sizeof *mgc_no_grad_here)))
        return (mgc_block *)PyErr_NoMemory();
    mgc_block *block = PyMem_Calloc(1, sizeof *block);
    if (!block) {
        Py_XDECREF(frame);
        return (mgc_block *)PyErr_NoMemory();
    }
    mgc_modes_anywhere++;
    if (frame) {
        block->frame = frame;
        block->next = mgc_generators_blocks;
        mgc_generators_blocks = block;
    } else {
        block->thread = mgc_no_grad_here;
        block->thread->blocks++;
    }
    return block;
}

/* A forked child has this thread alone. */
static inline void mgc_forget_other_threads(void)
{
    mgc_modes_anywhere = mgc_noting_here + mgc_detecting_here;
    if (mgc_no_grad_here) mgc_modes_anywhere += mgc_no_grad_here->blocks + mgc_no_grad_here->hidden;
    for (mgc_block *b = mgc_generators_blocks; b; b = b->next) mgc_modes_anywhere++;
    mgc_tracing_anywhere = mgc_tracing_here;
}

#endif

/* What a thread has switched: whether gradients are enabled, and whether a function is traced. Changes with these
 * switches.
 *
 * Everything here runs with the GIL held, and is asked for each new node. So each switch is two counters: how often
 * it is on in this thread, and in all threads together; nobody pays for looking up the thread's while that of all is
 * 0.
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

/* How many no_grad() blocks are open. */
static Py_ssize_t mgc_no_grad_anywhere;
static MGC_THREAD_LOCAL Py_ssize_t mgc_no_grad_here;

static inline int mgc_grad_enabled(void) { return !mgc_no_grad_anywhere || !mgc_no_grad_here; }

static inline void mgc_disable_grad(int by)
{
    mgc_no_grad_anywhere += by;
    mgc_no_grad_here += by;
}

/* Close the no_grad() blocks of this thread, and return how many there were. */
static inline int mgc_enable_grad(void)
{
    int blocks = (int)mgc_no_grad_here;
    mgc_disable_grad(-blocks);
    return blocks;
}

/* How many functions are being traced (tracing.pxi). */
static Py_ssize_t mgc_tracing_anywhere;
static MGC_THREAD_LOCAL Py_ssize_t mgc_tracing_here;

static inline int mgc_tracing(void) { return mgc_tracing_anywhere && mgc_tracing_here; }

static inline void mgc_trace(int by)
{
    mgc_tracing_anywhere += by;
    mgc_tracing_here += by;
}

/* A forked child has this thread alone. */
static inline void mgc_forget_other_threads(void)
{
    mgc_no_grad_anywhere = mgc_no_grad_here;
    mgc_tracing_anywhere = mgc_tracing_here;
}

#endif

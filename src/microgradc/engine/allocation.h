/* Where the memory of a node comes from: slabs, or CPython's allocator. Changes when there is another source, or
 * another way to choose.
 *
 * Slabs put before each node what CPython 3.10 to 3.14 put before an object that their garbage collector may look at:
 * a header of two words, all zero while the object is not tracked. This is tried out when the module is loaded. If
 * this Python does anything else, or the environment says MICROGRADC_SLAB=0, each node is allocated by
 * PyObject_GC_New and freed by PyObject_GC_Del: slower, but with nothing taken for granted. What the two have in
 * common is that a new node is not tracked, and that its memory is not cleared. PyObject_GC_New may start a
 * collection, which runs finalizers: whoever makes a node has to expect Python code to run.
 *
 * Instances of subclasses are CPython's own business in both cases.
 */
#ifndef MGC_ALLOCATION_H
#define MGC_ALLOCATION_H

#include <stdlib.h>

#include "engine/node.h"
#include "engine/slab.h"

static int mgc_uses_slabs = 1;          /* decided once, before the first node is made */

static inline mgc_object *mgc_put_in_next_place(PyTypeObject *type)
{
    char *place = mgc_next_place();
    memset(place, 0, MGC_GC_HEADER);
    PyObject *o = (PyObject *)(place + MGC_GC_HEADER);
    Py_SET_TYPE(o, type);
    Py_SET_REFCNT(o, 1);
    return (mgc_object *)o;
}

/* When the window is empty, as it always is without slabs. */
static mgc_object *mgc_allocate_elsewhere(PyTypeObject *type)
{
    if (!mgc_uses_slabs) return PyObject_GC_New(mgc_object, type);
    if (!mgc_move_window()) return (mgc_object *)PyErr_NoMemory();
    return mgc_put_in_next_place(type);
}

/* An exact Value: type and reference count are set, the node and the baggage are not. NULL with MemoryError. */
static inline mgc_object *mgc_allocate(PyTypeObject *type)
{
    return mgc_window ? mgc_put_in_next_place(type) : mgc_allocate_elsewhere(type);
}

/* What nobody refers to or tracks any more. */
static inline void mgc_deallocate(mgc_object *o)
{
    if (mgc_uses_slabs) mgc_give_place_back(o);
    else PyObject_GC_Del(o);
}

/* Whether the collector writes to the two words before an object, to nothing else, and to zero them when it no longer
   tracks it. Tried on an object in the middle of memory that nobody needs, for a header of another size lies
   elsewhere. -1 with MemoryError. */
static int mgc_header_is_as_expected(PyTypeObject *type)
{
    enum { MARGIN = 128, BYTES = MARGIN + MGC_PLACE_BYTES + MARGIN };
    char *memory = PyMem_Calloc(3, BYTES);
    if (!memory) {
        PyErr_NoMemory();
        return -1;
    }
    char *header = memory + MARGIN, *body = header + MGC_GC_HEADER;
    char *before = memory + BYTES, *tracked = before + BYTES;
    mgc_object *o = (mgc_object *)body;
    Py_SET_TYPE((PyObject *)o, type);
    Py_SET_REFCNT((PyObject *)o, 1);
    o->baggage = NULL;
    memcpy(before, memory, BYTES);
    int good = !PyObject_GC_IsTracked((PyObject *)o);
    PyObject_GC_Track(o);
    good = good && PyObject_GC_IsTracked((PyObject *)o);
    memcpy(tracked, memory, BYTES);
    PyObject_GC_UnTrack(o);
    good = good && !PyObject_GC_IsTracked((PyObject *)o) && !memcmp(memory, before, BYTES);
    /* Tracking has changed the header, and nothing around it. */
    good = good && memcmp(tracked + MARGIN, before + MARGIN, MGC_GC_HEADER);
    memcpy(tracked + MARGIN, before + MARGIN, MGC_GC_HEADER);
    good = good && !memcmp(tracked, before, BYTES);
    PyMem_Free(memory);
    return good;
}

/* Decide where nodes lie. Returns -1 with an exception if the environment asks for something else, or there is no
   memory. */
static int mgc_choose_allocation(PyTypeObject *type)
{
    const char *wanted = getenv("MICROGRADC_SLAB");
    if (wanted && *wanted && strcmp(wanted, "0") && strcmp(wanted, "1")) {
        PyErr_Format(PyExc_ValueError, "the environment variable MICROGRADC_SLAB must be 0, 1 or unset, got '%s'",
                     wanted);
        return -1;
    }
    if (wanted && !strcmp(wanted, "0")) {
        mgc_uses_slabs = 0;
        return 0;
    }
    mgc_uses_slabs = mgc_header_is_as_expected(type);
    return mgc_uses_slabs < 0 ? -1 : 0;
}

#endif

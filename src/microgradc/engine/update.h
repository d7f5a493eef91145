/* How an optimizer changes parameters: what loops over Values, and those of a whole training, call. Changes with what a
 * rule needs to be told.
 */
#ifndef MGC_UPDATE_H
#define MGC_UPDATE_H

#include <Python.h>

enum { MGC_UPDATE_PART = 64, MGC_UPDATE_BUFFERS = 3 };

typedef struct mgc_update mgc_update;

struct mgc_update {
    /* Make ready for the step of this number, from 1; first: whether the buffers have no numbers yet. */
    void (*begin)(mgc_update *, Py_ssize_t step, int first);
    /* Change n parameters x, which begin at this place of the group, by gradients g, which may change too; n is at most
       MGC_UPDATE_PART. */
    void (*change)(const mgc_update *, Py_ssize_t place, Py_ssize_t n, double *x, double *g);
    double *buffers[MGC_UPDATE_BUFFERS];    /* numbers of the state, one for each parameter; or NULL */
};

#endif

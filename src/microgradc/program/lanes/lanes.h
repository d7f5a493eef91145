/* The rows of ops.h, dense layers and sums over lanes: the examples of a batch, side by side. They are compiled once
 * for each level of SIMD instructions (levels.h), and the level is chosen when the module is loaded: one wheel is
 * fast everywhere.
 *
 * A row is n doubles, one for each lane, n a multiple of MGC_LANE_MULTIPLE. Rows of a block begin at 64-byte
 * boundaries, and lie n apart: row i of base is base + i * n. Those of operations of ops.h may be anywhere. No lane
 * reads another one, but for the sums over lanes, which stop at the last valid lane: the ones from there on are padding
 * and may hold anything. The order of additions depends on the sizes and the level alone, and a lane's place does not
 * change its values.
 */
#ifndef MGC_LANES_H
#define MGC_LANES_H

#include <Python.h>
#include <string.h>

#include "engine/ops.h"
#include "program/program.h"

#define MGC_LANE_MULTIPLE 8
#define MGC_SCRATCH 4096
#define MGC_CACHED 2048        /* doubles that surely stay in the first-level cache while a layer is computed */

/* The place that an index picks. It was checked, but the array that it is from may have changed since, while the GIL
   was released. */
static inline int mgc_index(double x, Py_ssize_t k) { return x >= 0 && x < (double)k ? (int)x : 0; }

typedef void mgc_forward(const double *x, const double *y, const double *z, double *f, Py_ssize_t n);
typedef void mgc_backward(const double *x, const double *y, const double *z, const double *f, const double *g,
                          double *gx, double *gy, double *gz, const double *nothing, int receives, Py_ssize_t n);

typedef struct {
    const char *name;
    int width;              /* doubles in a vector */

    /* For each row of ops.h, and NULL for MGC_LEAF: f = value. f may be an operand's array. Operands that the row
       does not take are not read. */
    mgc_forward *forward[MGC_TABLE_END];

    /* gx += what x receives, and so on, one operand after another: operands may be the same array, and so may what
       they receive. NULL for an operand that receives nothing. With MGC_X_FIRST, and so on, in receives, gx holds
       anything: what x receives is added to the row `nothing`, of zeros, instead. With MGC_KEEPS_OTHER, y is what
       `both_of_angles` kept. */
    mgc_backward *backward[MGC_TABLE_END];

    /* A dense layer: m dot products with the same k operands, the rows rows[i] of base.
       out[j] = bias[j] + sum_i w[j * k + i] * base[rows[i]]; a NULL bias is 0. Rows may repeat; out is none of them. */
    void (*dense)(const double *w, const double *bias, const double *base, const int *rows, double *out,
                  Py_ssize_t m, Py_ssize_t k, Py_ssize_t n);

    /* gbase[rows[i]] += sum_j w[j * k + i] * g[j]; with assign, = instead of +=, and then rows must differ. */
    void (*dense_operands)(const double *w, const double *g, double *gbase, const int *rows, int assign,
                           Py_ssize_t m, Py_ssize_t k, Py_ssize_t n);

    /* gw[j * k + i] += the sum over valid lanes of g[j] * base[rows[i]]; gbias[j] += that of g[j], unless gbias is
       NULL. scratch: MGC_SCRATCH numbers, aligned to 64 bytes, that it may write over: too many for the stack, which
       threads may have little of. */
    void (*dense_weights)(const double *g, const double *base, const int *rows, double *gw, double *gbias,
                          Py_ssize_t m, Py_ssize_t k, Py_ssize_t n, Py_ssize_t valid, double *scratch);

    /* Rows of a table, columns wide, become lanes: row j gets the numbers of column j, of the rows of the table that
       `rows` has, or of those one after another if it is NULL. Padding is the last of them again. */
    void (*load)(const double *table, const Py_ssize_t *rows, Py_ssize_t columns, double *to, Py_ssize_t n,
                 Py_ssize_t valid);

    /* The sum over valid lanes. */
    double (*sum)(const double *x, Py_ssize_t valid);

    /* Operations of any number of rows, places[i] that of operand i: the sum of products of pairs; log(sum of
       exp(v)); log(sum of exp(v)) - v[index], index the row of an integer in each lane. The others add to what
       operands receive. */
    void (*products)(const double *base, const int *places, double *f, Py_ssize_t k, Py_ssize_t n);
    void (*products_back)(const double *base, const int *places, const double *g, double *gbase,
                          Py_ssize_t k, Py_ssize_t n);
    void (*logsumexp)(const double *base, const int *places, double *f, Py_ssize_t k, Py_ssize_t n);
    void (*logsumexp_back)(const double *base, const int *places, const double *f, const double *g, double *gbase,
                           Py_ssize_t k, Py_ssize_t n);
    void (*cross_entropy)(const double *index, const double *base, const int *places, double *f,
                          Py_ssize_t k, Py_ssize_t n);
    void (*cross_entropy_back)(const double *index, const double *base, const int *places, const double *f,
                               const double *g, double *gbase, Py_ssize_t k, Py_ssize_t n);

    /* Whether numbers are start, start + stride, start + 2 stride, … */
    int (*advances)(const uint64_t *numbers, uint64_t start, uint64_t stride, Py_ssize_t count);

    /* sin(x) and cos(x), none of them where x is. */
    void (*both_of_angles)(const double *x, double *sin, double *cos, Py_ssize_t n);

    /* Steps of a program, no loops, for one example, whose rows are single numbers: forward, and back. The same
       functions in the same order, so that numbers have the bits that they have in a lane. base has a number for each
       slot; if there is a way back, gradients of all slots come after them. scratch as above. */
    void (*run_one)(const mgc_program *program, const mgc_step *steps, int count, const double *weights, double *base,
                    int is_way_back, double *scratch);
    void (*run_one_back)(const mgc_program *program, const mgc_step *steps, int count, const double *weights,
                         double *base, double *gweights, double *scratch);
} mgc_lanes;

#endif

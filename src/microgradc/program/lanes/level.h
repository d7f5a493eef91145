/* One level of lanes.h, after its macros: MGC_LEVEL, its name; vectors of MGC_WIDTH doubles; MGC_MADD and
   MGC_VECTOR_MADD, a * b + c of numbers and of vectors; a tile of MGC_TILE_ROWS x MGC_TILE_VECTORS vectors that leaves
   registers free for the operands; how many dot products are summed at once. */

/* Vectors */

#if MGC_WIDTH == 1
typedef double MGC_V(vector), MGC_V(unaligned);
#define SPLAT(a) (a)
#define MASKED(v, keep) (v)
#else
typedef double MGC_V(vector) __attribute__((vector_size(8 * MGC_WIDTH), may_alias));
typedef double MGC_V(unaligned) __attribute__((vector_size(8 * MGC_WIDTH), may_alias, aligned(8)));
typedef long long MGC_V(mask) __attribute__((vector_size(8 * MGC_WIDTH), may_alias));
#if MGC_WIDTH == 2
#define ELEMENTS(a) a, a
#elif MGC_WIDTH == 4
#define ELEMENTS(a) a, a, a, a
#else
#define ELEMENTS(a) a, a, a, a, a, a, a, a
#endif
#define SPLAT(a) (vector){ELEMENTS(a)}
#define MASKED(v, keep) ((vector)((MGC_V(mask))(v) & (keep)))   /* v or 0, whatever v is: inf * 0 would be nan */
#endif
#define vector MGC_V(vector)

#include "program/lanes/vmath.h"
#include "program/lanes/dense.h"
#include "program/lanes/sums.h"
#include "program/lanes/load.h"
#include "program/lanes/wide.h"
#include "program/lanes/one_wide.h"
#include "program/lanes/rows.h"     /* from here on, exp is the level's */
#include "program/lanes/one.h"

const mgc_lanes MGC_V(lanes) = {
    MGC_STRING(MGC_LEVEL),
    MGC_WIDTH,
    {
        NULL,
#define ROW(id, op, operands, params, value, gx, gy, gz, doc) MGC_V(forward_##id),
        MGC_TABLE(ROW)
#undef ROW
    },
    {
        NULL,
#define ROW(id, op, operands, params, value, gx, gy, gz, doc) MGC_V(backward_##id),
        MGC_TABLE(ROW)
#undef ROW
    },
    MGC_V(dense), MGC_V(dense_operands), MGC_V(dense_weights), MGC_V(load), MGC_V(sum),
    MGC_V(products), MGC_V(products_back), MGC_V(logsumexp), MGC_V(logsumexp_back),
    MGC_V(cross_entropy), MGC_V(cross_entropy_back),
    MGC_V(advances), MGC_V(both_of_angles), MGC_V(run_one), MGC_V(run_one_back),
};

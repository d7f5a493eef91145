/* What every processor has: vectors of two doubles, or on an unknown compiler none but those that it finds. */
#include "program/lanes/levels.h"

#define MGC_LEVEL baseline
#if defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>
#define MGC_WIDTH 2
#define MGC_TILE_ROWS 4
#define MGC_TILE_VECTORS 4
#define MGC_DOTS 16
#define MGC_MADD(a, b, c) __builtin_fma(a, b, c)
#define MGC_VECTOR_MADD(a, b, c) vfmaq_f64(c, a, b)
#elif defined(__GNUC__)
#define MGC_WIDTH 2
#define MGC_TILE_ROWS 2
#define MGC_TILE_VECTORS 4
#define MGC_DOTS 8
#define MGC_MADD(a, b, c) ((a) * (b) + (c))
#define MGC_VECTOR_MADD MGC_MADD
#else                   /* without vectors but those that the compiler finds */
#define MGC_WIDTH 1
#define MGC_TILE_ROWS 4
#define MGC_TILE_VECTORS 4
#define MGC_DOTS 16
#define MGC_MADD(a, b, c) ((a) * (b) + (c))
#define MGC_VECTOR_MADD MGC_MADD
#endif
#include "program/lanes/level.h"

/* x86-64 with AVX2 and FMA: vectors of four doubles. */
#include "program/lanes/levels.h"

#ifdef MGC_X86_LEVELS
#include <immintrin.h>

#define MGC_LEVEL avx2
#define MGC_WIDTH 4
#define MGC_TILE_ROWS 4
#define MGC_TILE_VECTORS 3
#define MGC_DOTS 8
#define MGC_MADD(a, b, c) __builtin_fma(a, b, c)
#define MGC_VECTOR_MADD _mm256_fmadd_pd
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "program/lanes/level.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

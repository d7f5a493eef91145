/* x86-64 with AVX-512: vectors of eight doubles. */
#include "program/lanes/levels.h"

#ifdef MGC_X86_LEVELS
#include <immintrin.h>

#define MGC_LEVEL avx512
#define MGC_WIDTH 8
#define MGC_TILE_ROWS 4
#define MGC_TILE_VECTORS 4
#define MGC_DOTS 16
#define MGC_MADD(a, b, c) __builtin_fma(a, b, c)
#define MGC_VECTOR_MADD _mm512_fmadd_pd
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
#include "program/lanes/level.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

/* The levels of SIMD instructions: the text of level.h, compiled once for each, and how one is chosen. */
#ifndef MGC_LEVELS_H
#define MGC_LEVELS_H

#include "program/lanes/lanes.h"

/* What compilers call the same thing. */
#if defined(__GNUC__)   /* clang too */
#define MGC_INLINE static inline __attribute__((always_inline))
#define MGC_NOINLINE static __attribute__((noinline))
#define MGC_PREFETCH(p) __builtin_prefetch(p, 1)
#define MGC_ALIGNED(p) __builtin_assume_aligned(p, 64)
#if defined(__x86_64__)
#define MGC_IN_REGISTER(v) __asm__("" : "+v"(v))   /* gcc would load it again for each use */
#else
#define MGC_IN_REGISTER(v) (void)0
#endif
#else
#define MGC_INLINE static __forceinline
#define MGC_NOINLINE static __declspec(noinline)
#define MGC_PREFETCH(p) (void)0
#define MGC_ALIGNED(p) (p)
#define MGC_IN_REGISTER(v) (void)0
#endif
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"   /* it tells of each row that calls the C library */
#define MGC_EACH_LANE _Pragma("clang loop vectorize(assume_safety)")
#define MGC_UNROLLED _Pragma("clang loop unroll(full)")
#define MGC_UNROLLED_4 _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define MGC_EACH_LANE _Pragma("GCC ivdep")
#define MGC_UNROLLED _Pragma("GCC unroll 16")
#define MGC_UNROLLED_4 _Pragma("GCC unroll 4")
#else
#define MGC_EACH_LANE __pragma(loop(ivdep))
#define MGC_UNROLLED
#define MGC_UNROLLED_4
#endif

#define MGC_UNROLLED_FOR(i, count) MGC_UNROLLED for (int i = 0; i < count; i++)
#if defined(__GNUC__)
typedef double mgc_quad __attribute__((vector_size(32), aligned(8), may_alias));
#endif

#define MGC_JOIN_(a, b) mgc_##a##_##b
#define MGC_JOIN(a, b) MGC_JOIN_(a, b)
#define MGC_V(name) MGC_JOIN(MGC_LEVEL, name)
#define MGC_STRING_(a) #a
#define MGC_STRING(a) MGC_STRING_(a)

/* For a level: its vectors of MGC_WIDTH doubles, and a tile of MGC_TILE_ROWS x MGC_TILE_VECTORS of them that leaves
   registers free for the operands. */
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

#if defined(__x86_64__) && defined(__GNUC__)
#define MGC_X86_LEVELS
#include <immintrin.h>
#define MGC_MADD(a, b, c) __builtin_fma(a, b, c)

#define MGC_LEVEL avx2
#define MGC_WIDTH 4
#define MGC_TILE_ROWS 4
#define MGC_TILE_VECTORS 3
#define MGC_DOTS 8
#define MGC_VECTOR_MADD _mm256_fmadd_pd
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#include "program/lanes/level.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#define MGC_MADD(a, b, c) __builtin_fma(a, b, c)
#define MGC_LEVEL avx512
#define MGC_WIDTH 8
#define MGC_TILE_ROWS 4
#define MGC_TILE_VECTORS 4
#define MGC_DOTS 16
#define MGC_VECTOR_MADD _mm512_fmadd_pd
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
#include "program/lanes/level.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

/* The levels, slowest first, and NULL. */
static const mgc_lanes *const mgc_lanes_levels[] = {
    &mgc_baseline_lanes,
#ifdef MGC_X86_LEVELS
    &mgc_avx2_lanes, &mgc_avx512_lanes,
#endif
    NULL,
};

/* Whether the processor and the operating system have a level. */
static inline int mgc_lanes_supported(const mgc_lanes *lanes)
{
#ifdef MGC_X86_LEVELS
    __builtin_cpu_init();
    if (lanes == &mgc_avx2_lanes) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (lanes == &mgc_avx512_lanes)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("fma");
#endif
    return lanes == &mgc_baseline_lanes;
}

/* The level of that name, the fastest for NULL; NULL if there is none or the processor lacks it. */
static inline const mgc_lanes *mgc_lanes_of(const char *name)
{
    const mgc_lanes *found = NULL;
    for (const mgc_lanes *const *level = mgc_lanes_levels; *level; level++)
        if (mgc_lanes_supported(*level) && (!name || !strcmp(name, (*level)->name))) found = *level;
    return found;
}

#endif

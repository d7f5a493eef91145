/* The levels of SIMD instructions, and how one is chosen. Each is a C file of its own, which has the text of level.h
   after its macros; so they are compiled side by side, with flags of their own. */
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

#if defined(__x86_64__) && defined(__GNUC__)
#define MGC_X86_LEVELS
#endif

extern const mgc_lanes mgc_baseline_lanes;
#ifdef MGC_X86_LEVELS
extern const mgc_lanes mgc_avx2_lanes, mgc_avx512_lanes;
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

/* What one core can do: multiply-adds a second in vectors of the width that it has, and bytes a second from a buffer. Compiled by
   roofline.py for the machine that it runs on. */
#include <time.h>

#if defined(__AVX512F__)
#define WIDTH 8
#elif defined(__AVX__)
#define WIDTH 4
#else
#define WIDTH 2
#endif
#define CHAINS 12   /* of additions that wait for nothing but themselves: latency times units, and some */

typedef double vector __attribute__((vector_size(8 * WIDTH)));

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

int width(void) { return WIDTH; }

/* Floating-point operations a second, two for each multiply-add. */
double flops(long count)
{
    vector acc[CHAINS] = {0}, a = {0}, b = {0};
    a += 0.999, b += 1e-3;
    const double begin = now();
    for (long i = 0; i < count; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            acc[c] = acc[c] * a + b;
            __asm__ volatile("" : "+v"(acc[c]));   /* nothing is done ahead or left out */
        }
    }
    const double taken = now() - begin;
    return 2.0 * count * CHAINS * WIDTH / taken;
}

/* Bytes a second, read from a buffer of so many bytes, over and over. */
double read_bytes(const double *buffer, long bytes, long times)
{
    const long vectors = bytes / sizeof(vector) / 8 * 8;
    vector acc[8] = {0};
    const double begin = now();
    for (long t = 0; t < times; t++)
        for (long i = 0; i < vectors; i += 8) {
#pragma GCC unroll 8
            for (int c = 0; c < 8; c++) {
                acc[c] += ((const vector *)buffer)[i + c];
                __asm__ volatile("" : "+v"(acc[c]));
            }
        }
    return times * vectors * (double)sizeof(vector) / (now() - begin);
}

/* Bytes a second, read from one half of a buffer and written to the other. */
double copy_bytes(double *buffer, long bytes, long times)
{
    const long vectors = bytes / sizeof(vector) / 16 * 8;
    const double begin = now();
    for (long t = 0; t < times; t++)
        for (long i = 0; i < vectors; i += 8) {
#pragma GCC unroll 8
            for (int c = 0; c < 8; c++) {
                vector v = ((const vector *)buffer)[i + c];
                __asm__ volatile("" : "+v"(v));
                ((vector *)buffer)[vectors + i + c] = v;
            }
        }
    return times * vectors * 2 * (double)sizeof(vector) / (now() - begin);
}

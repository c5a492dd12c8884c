/* What one core of this machine can do at most: multiply-adds and reading, without any library.

   Compiled with all instructions of the processor (-march=native) and run for a moment; prints the best of many
   rounds: single-precision operations per second (a multiply-add is two) and bytes read per second from a memory of as
   many MiB as the first argument says, in huge pages where the system has them. */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
#define LANES (WIDTH / 4)
/* As many independent chains as registers hold: more than the latency of a multiply-add times the units. */
#define CHAINS 12

typedef float vector __attribute__((vector_size(WIDTH)));
typedef vector unaligned_vector __attribute__((aligned(4)));

static volatile float sink; /* what is computed must not be optimised away */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

static void keep(const vector *sums, int count) {
    float total = 0;
    for (int i = 0; i < count; i++)
        for (int lane = 0; lane < LANES; lane++) total += sums[i][lane];
    sink = total;
}

static double multiply_adds_per_second(void) {
    const long rounds = 1000000;
    vector sums[CHAINS], factor, addend;
    for (int lane = 0; lane < LANES; lane++) factor[lane] = 0.999f + 1e-9f * sink, addend[lane] = 1e-3f + 1e-9f * sink;
    for (int i = 0; i < CHAINS; i++) sums[i] = addend * (float)i;
    double start = seconds();
    for (long round = 0; round < rounds; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sums[i] = sums[i] * factor + addend;
    }
    double elapsed = seconds() - start;
    keep(sums, CHAINS);
    return 1.0 * rounds * CHAINS * LANES / elapsed;
}

/* `streams` parts of the memory are read side by side: processors differ in how many their prefetchers like. */
static inline __attribute__((always_inline)) double bytes_per_second(const float *memory, size_t bytes, int streams) {
    size_t part = bytes / sizeof(float) / streams;
    vector sums[8] = {0};
    double start = seconds();
    for (size_t place = 0; place + 2 * LANES <= part; place += 2 * LANES) {
#pragma GCC unroll 4
        for (int stream = 0; stream < streams; stream++) {
            const float *here = memory + stream * part + place;
            sums[2 * stream] += *(const unaligned_vector *)here;
            sums[2 * stream + 1] += *(const unaligned_vector *)(here + LANES);
        }
    }
    double elapsed = seconds() - start;
    keep(sums, 8);
    return bytes / elapsed;
}

static double larger(double a, double b) { return a > b ? a : b; }

int main(int count, char **arguments) {
    size_t huge_page = 2 << 20, bytes = (size_t)(count > 1 ? atoi(arguments[1]) : 1024) << 20;
    float *memory = aligned_alloc(huge_page, bytes);
    if (!memory) return 1;
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    for (size_t i = 0; i < bytes / sizeof(float); i++) memory[i] = 1.0f;
    double flops = 0, read = 0;
    for (int round = 0; round < 20; round++) flops = larger(flops, 2 * multiply_adds_per_second());
    for (int round = 0; round < 4; round++) {
        read = larger(read, bytes_per_second(memory, bytes, 1));
        read = larger(read, bytes_per_second(memory, bytes, 2));
        read = larger(read, bytes_per_second(memory, bytes, 4));
    }
    printf("{\"flops_per_s\": %.6g, \"bytes_per_s\": %.6g}\n", flops, read);
    return 0;
}

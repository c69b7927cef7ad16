/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the CPU backend share: the prepare function of each, the state an instruction may own, and how
 * loops are vectorised. A prepare function is called with the reference kernel already in place; it replaces the
 * kernel where it can do better and otherwise leaves it. Seen by cpu/ only. */
#ifndef ATTAR_BACKEND_CPU_INTERNAL_H
#define ATTAR_BACKEND_CPU_INTERNAL_H
#include "backend/backend.h"
#include "backend/cpu/cpu_kept.h"

/* What backend->self points to. */
typedef struct dd_cpu {
    void *engine; /* oneDNN's */
    dd_kept *kept;
    char library[32];
} dd_cpu;

/* The first member of whatever in->state points to. */
typedef struct dd_cpu_state dd_cpu_state;
struct dd_cpu_state {
    void (*release)(dd_cpu_state *s);
};

/* Loop functions are compiled for several instruction sets and chosen when the program loads. Sanitizers run before
 * the choice can be made, and clang 14 does not know the attribute. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) &&               \
    !defined(__SANITIZE_THREAD__)
#define DD_SIMD __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define DD_SIMD
#endif

/* run(q, ...) for a row of q windows of 2x2. Such rows are short: the widths of the usual networks are constants, for
 * which loops have no remainder. */
#define DD_USUAL_WIDTHS(run, q, ...)                                                                                   \
    switch (q) {                                                                                                       \
    case 5: run(5, __VA_ARGS__); break;                                                                                \
    case 6: run(6, __VA_ARGS__); break;                                                                                \
    case 14: run(14, __VA_ARGS__); break;                                                                              \
    case 16: run(16, __VA_ARGS__); break;                                                                              \
    default: run(q, __VA_ARGS__);                                                                                      \
    }

/* Fewer elements than this are not worth waking other threads (0.6 us), nor fetching from their caches what they have
 * made. What one thread does alone stays out of OpenMP where it is often little: a region of one thread takes 0.3 us.
 */
#define DD_CPU_GRAIN 4096

/* Floats of the vectors that the .inc sources can use here: 16 (AVX-512), 8 (AVX2 and FMA), 0: neither. */
static inline int dd_cpu_lanes(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f")) return 16;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 8 : 0;
#else
    return 0;
#endif
}

dd_status dd_cpu_pointwise_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_reduce_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_group_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_pool_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_patches_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_index_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_sample_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_spmm_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_gemm_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_factor_prepare(dd_backend *b, dd_instr *in);
dd_status dd_cpu_conv_prepare(dd_backend *b, dd_instr *in);
unsigned dd_cpu_conv_may_block(dd_backend *b, const dd_instr *in);
int dd_cpu_conv_joins(dd_backend *b, const dd_instr *in);
/* The same by the shape alone, and whether a kernel of ours can compute it at all. */
unsigned dd_cpu_conv_shape_may_block(const dd_instr *in);
bool dd_cpu_conv_is_ours(const dd_instr *in);
/* Whether oneDNN was measured to be faster; measures now if this shape is new. False where the backend does not tune.
 */
bool dd_cpu_prefers_library(dd_backend *b, const dd_instr *in);
/* Any CONV, CONV_DX or CONV_DW in float32 that oneDNN knows. */
dd_status dd_cpu_onednn_prepare(dd_backend *b, dd_instr *in);
void dd_cpu_onednn_version(char *out, size_t size); /* "oneDNN 2.6.3" */
/* All three passes of convolutions of few channels; false if the shape or the processor is not its own. */
bool dd_cpu_conv_few_prepare(dd_backend *b, dd_instr *in);
bool dd_cpu_conv_few_takes(const dd_instr *in); /* in one layout at least */
unsigned dd_cpu_conv_few_may_block(const dd_instr *in);
/* Whether it takes a convolution or a gradient of one as a member of a row group, in blocks or not; floats of a
 * thread's buffer, its preparation once a launch; planes first.. of one image of dst into y, one behind the other or in
 * blocks, or what such planes u add to the weights' gradient. `fresh`: the buffer does not hold this image yet. In the
 * end: dst from the buffers of all threads, which are `apart` floats apart. */
bool dd_cpu_conv_few_joins(const dd_instr *in);
int64_t dd_cpu_conv_few_buffer(const dd_instr *in);
void dd_cpu_conv_few_start(const dd_instr *in, float *buffer);
void dd_cpu_conv_few_planes(const dd_instr *in, int64_t image, int64_t first, int64_t count, bool fresh, float *buffer,
                            float *y);
void dd_cpu_conv_few_weigh(const dd_instr *in, int64_t image, int64_t first, int64_t count, bool fresh, float *buffer,
                           const float *u);
/* The same of a CONV_DX, whose dst gets the image with its last plane. */
void dd_cpu_conv_few_back(const dd_instr *in, int64_t image, int64_t first, int64_t count, float *buffer,
                          const float *u);
void dd_cpu_conv_few_end(const dd_instr *in, int parts, int64_t apart, float *buffer);
/* All three passes of 3x3 convolutions of many channels; false as above. */
bool dd_cpu_winograd_prepare(dd_backend *b, dd_instr *in);
bool dd_cpu_winograd_takes(const dd_instr *in);
unsigned dd_cpu_winograd_may_block(const dd_instr *in);
/* Row groups whose rows can all be taken in blocks. */
bool dd_cpu_group_may_block(const dd_instr *in);

/* One plane of 2x2 pooling; plane holds height and width of the large and of the small one. `large`: u is the small
 * plane and y the large one (SUMPOOL_T), otherwise x is the large one (SUMPOOL). */
void dd_cpu_pool_plane(const int64_t plane[4], bool large, const float *x, float *y);

/* oneDNN's engine and stream: opened with the backend. */
dd_status dd_cpu_engine_open(void **engine);
void dd_cpu_engine_close(void *engine);

double dd_cpu_peak(dd_backend *b);
/* Multiplies and adds in registers, so many floats a round; the sum keeps the compiler from dropping them. */
enum { DD_SPIN_PLAIN = 48, DD_SPIN_AVX2 = 12 * 8, DD_SPIN_AVX512 = 20 * 16 };
float dd_cpu_spin_avx2(int64_t rounds, float m);
float dd_cpu_spin_avx512(int64_t rounds, float m);
/* Makes OpenMP and OpenBLAS use b->threads from here on; cheap when they do already. */
void dd_cpu_threads(const dd_backend *b);
/* x [n,m] = (l l^T)^-1 x for lower triangular l [n,n], row-major; t is f32 or f64. */
void dd_cpu_solve_lower(dd_dtype t, int64_t n, int64_t m, const void *l, void *x);
#endif

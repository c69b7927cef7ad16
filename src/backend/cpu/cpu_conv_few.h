/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of few channels: what the lanes of each instruction set do. Shapes as in dd_conv_geo; floats; one
 * thread. Images x are plain; u and y lie in plain planes for the first table of functions and in blocks of `lanes`
 * channels, [o / lanes][p][q][lanes], for the second. */
#ifndef ATTAR_BACKEND_CPU_CONV_FEW_H
#define ATTAR_BACKEND_CPU_CONV_FEW_H
#include "backend/geometry.h"

enum { DD_FEW_PLANES = 4 };

/* The output channels whose sums a buffer holds. */
typedef struct dd_few_sums {
    int64_t base, channels;
} dd_few_sums;

typedef struct dd_few_lanes {
    int64_t (*scratch)(const dd_conv_geo *g, bool back); /* floats of buf in the next two */
    /* Planes first..first+count-1 of y [o,p,q] of one image x [c,h,w], into y; bias may be NULL. Unless `fresh`, buf
     * still holds the image from the last call. */
    void (*planes)(const dd_conv_geo *g, int64_t first, int64_t count, bool fresh, const float *x, const float *w,
                   const float *bias, float *buf, float *y);
    /* y [c,h,w] of one image from planes first..first+count-1 of u [o,p,q], those before having been there in their
     * turn, after weights have been put into buf; y is written with the last plane. */
    void (*start_back)(const dd_conv_geo *g, const float *w, float *buf);
    void (*backward)(const dd_conv_geo *g, int64_t first, int64_t count, const float *u, float *buf, float *y);
    /* Gradient of the 3x3 kernels of `channels` output channels from `base` on. Floats of buf, all zero at first: */
    int64_t (*weights_scratch)(const dd_conv_geo *g, int64_t channels);
    /* Adds what planes first..first+count-1 of one image give; u: these planes. Unless `fresh`, buf holds the image. */
    void (*weights)(const dd_conv_geo *g, dd_few_sums s, int64_t first, int64_t count, bool fresh, const float *x,
                    const float *u, float *buf);
    /* y from the sums of `parts` buffers that are `apart` floats apart. */
    void (*weights_end)(const dd_conv_geo *g, dd_few_sums s, int parts, int64_t apart, const float *buf, float *y);
} dd_few_lanes;

typedef struct dd_few_blocks {
    int64_t (*scratch)(const dd_conv_geo *g, bool back); /* floats of buf in the next four */
    /* Weights into buf, whose borders become zero: before the first planes or backward. */
    void (*start)(const dd_conv_geo *g, bool back, const float *w, float *buf);
    /* As above; first and count are multiples of lanes. */
    void (*planes)(const dd_conv_geo *g, int64_t first, int64_t count, bool fresh, const float *x, const float *bias,
                   float *buf, float *y);
    /* All planes, to bfloat16. */
    void (*halves)(const dd_conv_geo *g, const float *x, const float *bias, float *buf, uint16_t *y);
    /* half: u is bfloat16. */
    void (*backward)(const dd_conv_geo *g, bool half, int64_t first, int64_t count, const void *u, float *buf,
                     float *y);
    int64_t (*weights_scratch)(const dd_conv_geo *g, int64_t channels);
    void (*weights)(const dd_conv_geo *g, bool half, dd_few_sums s, int64_t first, int64_t count, bool fresh,
                    const float *x, const void *u, float *buf);
    void (*weights_end)(const dd_conv_geo *g, dd_few_sums s, int parts, int64_t apart, const float *buf, float *y);
} dd_few_blocks;

#if defined(__x86_64__) && defined(__GNUC__)
#define DD_FEW_X86 1
extern const dd_few_lanes dd_few_avx2, dd_few_avx512;
extern const dd_few_blocks dd_few_blocks_avx2, dd_few_blocks_avx512;
#endif
#endif

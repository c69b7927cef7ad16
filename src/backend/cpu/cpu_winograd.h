/* SPDX-License-Identifier: Apache-2.0
 *
 * 3x3 convolutions by Winograd's F(4x4,3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
 * 2016): what the lanes of each instruction set do. An image is cut into tiles of 4x4 results; a tile's 6x6 inputs
 * become 36 numbers for each channel, and each of the 36 is a matrix product of its own over tiles and channels.
 *
 *   V [36][groups of c][rows][lanes]   tiles of the input, transformed; rows are the tiles of a chunk, in whole blocks
 *   M [36][groups of o][rows][lanes]   products; for the weights' gradient the tiles of the other operand, transformed
 *   U [36][panels of 2 * lanes o][c][2 * lanes]   weights, transformed
 *   D [36][o][c], both in whole panels            gradient of U
 *
 * Each of the 36 begins `step` floats after the one before, which is no multiple of a page: it would be 36 times the
 * same place in the cache. */
#ifndef ATTAR_BACKEND_CPU_WINOGRAD_H
#define ATTAR_BACKEND_CPU_WINOGRAD_H
#include <stdint.h>

enum { DD_WINO_TILE = 4, DD_WINO_IN = 6, DD_WINO_POINTS = 36, DD_WINO_TAPS = 9 };

typedef struct dd_wino {
    int64_t n, c, o;             /* images, channels in and out */
    int64_t h, w, p, q, ph, pw;  /* planes in and out, rows above and columns left of the input */
    int64_t th, tw, tiles;       /* tiles down, across, in an image */
    int64_t wide_c, wide_o;      /* channels rounded up to whole panels */
    int64_t chunk, chunks, rows; /* images in a chunk, their number, rows of V and M */
    int64_t group;               /* floats of one group of channels in V and M */
    int64_t v_step, m_step, u_step, d_step;
    int64_t w_out, w_in; /* floats from one channel's kernel to the next */
    int turned;          /* kernels turned by half a turn: the gradient of the input */
    /* The source and the other operand or the result lie in blocks of `lanes` channels: [c / lanes][h][w][lanes]. */
    int source_blocked, other_blocked;
    int source_half, other_half; /* and are bfloat16 */
} dd_wino;

typedef struct dd_wino_lanes {
    int lanes, block; /* floats of a vector; rows that a product keeps in registers */
    /* U of panel number `panel` from w. */
    void (*weights)(const dd_wino *z, int64_t panel, const float *w, float *u);
    /* Channels from..from+lanes of one image x [c,h,w], or of its blocks, into the 36 matrices; v is where their group
     * has the image's first tile. `canvas` holds a vector for each pixel of the tiles and is zero where the image does
     * not reach. */
    void (*source)(const dd_wino *z, int64_t from, const float *x, float *canvas, float *v);
    /* The same for u [o,p,q], the other operand of the weights' gradient. */
    void (*gradient)(const dd_wino *z, int64_t from, const float *u, float *canvas, float *m);
    /* M of one of the 36 points, of `rows` tiles and what fills up their last block. */
    void (*product)(const dd_wino *z, int64_t rows, const float *v, const float *u, float *m);
    /* Channels from..from+lanes of y [o,p,q] from the 36 matrices, m as above; bias may be NULL. */
    void (*result)(const dd_wino *z, int64_t from, const float *m, const float *bias, float *canvas, float *y);
    /* D of one of the 36 points from `rows` tiles; adds to what is there unless `first`. */
    void (*outer)(const dd_wino *z, int64_t rows, int first, const float *m, const float *v, float *d);
    /* Gradient of the kernels of output channel `o` from D. */
    void (*kernels)(const dd_wino *z, int64_t o, const float *d, float *w);
} dd_wino_lanes;

#if defined(__x86_64__) && defined(__GNUC__)
#define DD_WINO_X86 1
extern const dd_wino_lanes dd_wino_avx2, dd_wino_avx512;
#endif
#endif

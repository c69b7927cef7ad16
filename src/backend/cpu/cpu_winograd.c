/* SPDX-License-Identifier: Apache-2.0
 *
 * Winograd's convolution for all three passes: which shapes, how the work is cut, who does what. Images go in chunks
 * whose tiles stay in cache between the transforms and the products. For outputs each chunk is one thread's; for the
 * weights' gradient all threads transform a chunk and then take the 36 products one by one, so that no sum is split
 * and its bits do not depend on the number of threads. */
#include "backend/cpu/cpu_internal.h"
#include "backend/cpu/cpu_winograd.h"

#include "backend/geometry.h"
#include "base/memory.h"

#ifdef DD_WINO_X86
#include <limits.h>
#include <omp.h>
#include <string.h>

/* Tiles of a chunk, and of an image at most; channels from which the transforms cost less than they save. */
enum { CHUNK_TILES = 96, MOST_TILES = 512, ENOUGH = 16, APART = 16 };

static const dd_wino_lanes *lanes_here(void)
{
    const int n = dd_cpu_lanes();
    return n == 16 ? &dd_wino_avx512 : n == 8 ? &dd_wino_avx2 : NULL;
}

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* For CONV_DX the roles of c and o are exchanged: u comes in, x comes out. */
static dd_wino plan_of(const dd_instr *in, const dd_wino_lanes *f, int threads)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const bool back = in->kind == DD_K_CONV_DX;
    dd_wino z = {.n = g.n,
                 .c = back ? g.o : g.c,
                 .o = back ? g.c : g.o,
                 .h = back ? g.p : g.h,
                 .w = back ? g.q : g.w,
                 .p = back ? g.h : g.p,
                 .q = back ? g.w : g.q,
                 .ph = back ? 2 - g.ph : g.ph,
                 .pw = back ? 2 - g.pw : g.pw,
                 .w_out = back ? DD_WINO_TAPS : g.c * DD_WINO_TAPS,
                 .w_in = back ? g.c * DD_WINO_TAPS : DD_WINO_TAPS,
                 .turned = back,
                 .source_blocked = (in->blocked & 2) != 0,
                 .other_blocked = (in->blocked & (in->kind == DD_K_CONV_DW ? 4 : 1)) != 0,
                 .source_half = (in->half & 2) != 0,
                 .other_half = (in->half & (in->kind == DD_K_CONV_DW ? 4 : 1)) != 0};
    z.th = (z.p + DD_WINO_TILE - 1) / DD_WINO_TILE;
    z.tw = (z.q + DD_WINO_TILE - 1) / DD_WINO_TILE;
    z.tiles = z.th * z.tw;
    z.wide_c = round_up(z.c, 2 * f->lanes);
    z.wide_o = round_up(z.o, 2 * f->lanes);
    const int64_t share = in->kind == DD_K_CONV_DW ? z.n : (z.n + threads - 1) / threads;
    z.chunk = CHUNK_TILES / z.tiles < 1 ? 1 : CHUNK_TILES / z.tiles;
    z.chunk = z.chunk > share ? share : z.chunk;
    z.chunks = (z.n + z.chunk - 1) / z.chunk;
    if (in->kind != DD_K_CONV_DW) { /* the same number for every thread, as even as can be */
        z.chunks = round_up(z.chunks, threads);
        z.chunk = (z.n + z.chunks - 1) / z.chunks;
        z.chunks = (z.n + z.chunk - 1) / z.chunk;
    }
    z.rows = round_up(z.chunk * z.tiles, f->block);
    z.group = z.rows * f->lanes;
    z.v_step = z.rows * z.wide_c + APART;
    z.m_step = z.rows * z.wide_o + APART;
    z.u_step = z.wide_o * z.c + APART;
    z.d_step = z.wide_o * z.wide_c + APART;
    return z;
}

/* Floats of a thread's canvas: the padded input or the tiles of the output. */
static int64_t canvas_size(const dd_wino *z, const dd_wino_lanes *f)
{
    return (z->th * DD_WINO_TILE + 2) * (z->tw * DD_WINO_TILE + 2) * f->lanes;
}

/* Element i of an operand. */
static const float *element(const void *x, int half, int64_t i)
{
    return (const float *)(const void *)((const char *)x + i * (half ? 2 : 4));
}

/* ---- outputs ---- */

/* What the transformed weights depend on, besides the weights. */
static dd_kept_form form_of(const dd_wino *z, const dd_wino_lanes *f)
{
    return (dd_kept_form){{z->c, z->o, z->turned, f->lanes}};
}

/* A chunk is one thread's; with fewer chunks than threads some have none. */
static int64_t workers_of(const dd_wino *z, int threads)
{
    return z->chunks < threads ? z->chunks : threads;
}

static size_t outputs_scratch(const dd_wino *z, const dd_wino_lanes *f, int threads)
{
    return (size_t)(workers_of(z, threads) * (DD_WINO_POINTS * (z->v_step + z->m_step) + 2 * canvas_size(z, f))) *
           sizeof(float);
}

typedef struct place {
    float *canvas, *out, *v, *m;
} place;

static void chunk_out(const dd_wino *z, const dd_wino_lanes *f, int64_t first, int64_t last, const dd_instr *in,
                      const float *u, place at)
{
    const float *bias = in->kind == DD_K_CONV && in->nsrc > 2 ? in->in[2] : NULL;
    char *y = in->out;
    for (int64_t i = first; i < last; i++)
        for (int64_t c = 0; c < z->c; c += f->lanes)
            f->source(z, c, element(in->in[0], z->source_half, i * z->c * z->h * z->w), at.canvas,
                      at.v + c / f->lanes * z->group + (i - first) * z->tiles * f->lanes);
    for (int64_t k = 0; k < DD_WINO_POINTS; k++)
        f->product(z, (last - first) * z->tiles, at.v + k * z->v_step, u + k * z->u_step, at.m + k * z->m_step);
    for (int64_t i = first; i < last; i++)
        for (int64_t o = 0; o < z->o; o += f->lanes)
            f->result(z, o, at.m + o / f->lanes * z->group + (i - first) * z->tiles * f->lanes, bias, at.out,
                      (float *)(void *)(y + i * z->o * z->p * z->q * (z->other_half ? 2 : 4)));
}

/* What no chunk writes: the canvas around the image, and the rows that fill up the last block. */
static void clear_margins(const dd_wino *z, const dd_wino_lanes *f, float *canvas, float *v)
{
    const int64_t used = z->chunk * z->tiles * f->lanes, left = z->group - used;
    memset(canvas, 0, (size_t)canvas_size(z, f) * sizeof *canvas);
    for (int64_t k = 0; k < DD_WINO_POINTS; k++)
        for (int64_t g = 0; g < z->wide_c / f->lanes; g++)
            memset(v + k * z->v_step + g * z->group + used, 0, (size_t)left * sizeof *v);
}

static dd_status launch_outputs(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_wino_lanes *f = lanes_here();
    const dd_wino z = plan_of(in, f, b->threads);
    const int64_t canvas = canvas_size(&z, f), each = 2 * canvas + DD_WINO_POINTS * (z.v_step + z.m_step);
    const dd_kept_form form = form_of(&z, f);
    dd_kept_weights *kept = dd_kept_find(((const dd_cpu *)b->self)->kept, &form, in->in[1]);
    float *u = kept->made, *rest = scratch;
    const int64_t panels = kept->valid ? 0 : z.wide_o / (2 * f->lanes), workers = workers_of(&z, b->threads);
#pragma omp parallel num_threads(b->threads)
    {
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < panels; panel++) f->weights(&z, panel, in->in[1], u);
#pragma omp for schedule(static)
        for (int64_t worker = 0; worker < workers; worker++) {
            float *mine = rest + worker * each;
            const place at = {mine, mine + canvas, mine + 2 * canvas, mine + 2 * canvas + DD_WINO_POINTS * z.v_step};
            clear_margins(&z, f, at.canvas, at.v);
            for (int64_t c = z.chunks * worker / workers; c < z.chunks * (worker + 1) / workers; c++) {
                const int64_t first = c * z.chunk, last = first + z.chunk < z.n ? first + z.chunk : z.n;
                chunk_out(&z, f, first, last, in, u, at);
            }
        }
    }
    if (panels) dd_kept_confirm(kept, in->in[1]);
    return DD_OK;
}

/* ---- weights' gradient ---- */

static size_t weights_scratch(const dd_wino *z, const dd_wino_lanes *f, int threads)
{
    return (size_t)(DD_WINO_POINTS * (z->d_step + z->v_step + z->m_step) + threads * 2 * canvas_size(z, f)) *
           sizeof(float);
}

static dd_status launch_weights(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_wino_lanes *f = lanes_here();
    const dd_wino z = plan_of(in, f, b->threads);
    const int64_t canvas = canvas_size(&z, f), cb = round_up(z.c, f->lanes) / f->lanes,
                  ob = round_up(z.o, f->lanes) / f->lanes;
    float *v = scratch, *m = v + DD_WINO_POINTS * z.v_step, *d = m + DD_WINO_POINTS * z.m_step,
          *rest = d + DD_WINO_POINTS * z.d_step;
#pragma omp parallel num_threads(b->threads)
    {
        float *mine = rest + omp_get_thread_num() * 2 * canvas;
        memset(mine, 0, (size_t)(2 * canvas) * sizeof *mine);
        for (int64_t c = 0; c < z.chunks; c++) {
            const int64_t first = c * z.chunk, images = z.n - first < z.chunk ? z.n - first : z.chunk;
#pragma omp for schedule(static)
            for (int64_t j = 0; j < images * (cb + ob); j++) {
                const int64_t i = j / (cb + ob), k = j % (cb + ob), tile = i * z.tiles * f->lanes;
                if (k < cb)
                    f->source(&z, k * f->lanes, element(in->in[0], z.source_half, (first + i) * z.c * z.h * z.w), mine,
                              v + k * z.group + tile);
                else
                    f->gradient(&z, (k - cb) * f->lanes,
                                element(in->in[1], z.other_half, (first + i) * z.o * z.p * z.q), mine + canvas,
                                m + (k - cb) * z.group + tile);
            }
#pragma omp for schedule(static)
            for (int64_t k = 0; k < DD_WINO_POINTS; k++)
                f->outer(&z, images * z.tiles, c == 0, m + k * z.m_step, v + k * z.v_step, d + k * z.d_step);
        }
#pragma omp for schedule(static)
        for (int64_t o = 0; o < z.o; o++) f->kernels(&z, o, d, in->out);
    }
    return DD_OK;
}

/* ---- choice ---- */

bool dd_cpu_winograd_takes(const dd_instr *in)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const dd_wino_lanes *f = lanes_here();
    const bool plain = g.r == 3 && g.s == 3 && g.sh == 1 && g.sw == 1 && g.dh == 1 && g.dw == 1 && g.g == 1;
    if (!f || in->dst.dtype != DD_F32 || !plain || g.ph > 2 || g.pw > 2 || g.c < ENOUGH || g.o < ENOUGH) return false;
    return plan_of(in, f, 1).tiles <= MOST_TILES;
}

unsigned dd_cpu_winograd_may_block(const dd_instr *in)
{
    if (!dd_cpu_winograd_takes(in)) return 0;
    const dd_conv_geo g = dd_conv_geo_of(in);
    const int lanes = dd_cpu_lanes();
    const unsigned c = g.c % lanes == 0, o = g.o % lanes == 0;
    switch (in->kind) {
    case DD_K_CONV: return c << 1 | o;
    case DD_K_CONV_DX: return o << 1 | c;
    default: return c << 1 | o << 2;
    }
}

/* An instruction that has a place among the kept weights. */
typedef struct user {
    dd_cpu_state base;
    dd_kept *kept;
    dd_kept_form form;
    bool limited;
} user;

static void leave(dd_cpu_state *s)
{
    user *u = (user *)(void *)s;
    dd_kept_leave(u->kept, &u->form, !u->limited);
    dd_free(u);
}

static bool become_user(dd_backend *b, dd_instr *in, const dd_wino *z, const dd_kept_form *form)
{
    dd_kept *kept = ((const dd_cpu *)b->self)->kept;
    user *u = dd_alloc(1, sizeof *u);
    if (!u) return false;
    *u = (user){{leave}, kept, *form, b->limit > 0};
    in->state = u;
    /* Where memory is limited, convolutions of one form take turns in one place. */
    if (dd_kept_reserve(kept, form, (size_t)(z->c * z->o * DD_WINO_TAPS), (size_t)(DD_WINO_POINTS * z->u_step),
                        b->limit ? 1 : INT_MAX) == DD_OK)
        return true;
    dd_free(u);
    in->state = NULL;
    return false;
}

bool dd_cpu_winograd_prepare(dd_backend *b, dd_instr *in)
{
    if (!dd_cpu_winograd_takes(in)) return false;
    const dd_wino_lanes *f = lanes_here();
    const dd_wino z = plan_of(in, f, b->threads);
    const bool dw = in->kind == DD_K_CONV_DW;
    const dd_kept_form form = form_of(&z, f);
    if (!dw && !become_user(b, in, &z, &form)) return false;
    in->scratch = dw ? weights_scratch(&z, f, b->threads) : outputs_scratch(&z, f, b->threads);
    in->launch = dw ? launch_weights : launch_outputs;
    return true;
}
#else
bool dd_cpu_winograd_takes(const dd_instr *in)
{
    (void)in;
    return false;
}

unsigned dd_cpu_winograd_may_block(const dd_instr *in)
{
    (void)in;
    return 0;
}

bool dd_cpu_winograd_prepare(dd_backend *b, dd_instr *in)
{
    (void)b, (void)in;
    return false;
}
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel matrices block by block. Every block has one of two sizes, so two programs do: pairs of images of two sets,
 * and images of one set among themselves, whose diagonal is exact. What a block at the edge has too much is computed
 * from what was there before and not looked at. Knows graph, exec, base. */
#include "nn/kernel_blocks.h"

#include "base/memory.h"
#include "exec/draft.h"

#include <math.h>
#include <string.h>

/* x [n,..], y [m,..]; k [n,m] what is computed; d [n,m], dx and dy where slopes are asked for, dy only within a set. */
typedef struct block {
    dd_program *run, *slope;
    dd_tensor x, y, k, d, dx, dy;
} block;

struct dd_kernel_blocks {
    dd_backend *backend;
    const dd_kernel *kernel;
    dd_dtype dtype;
    dd_image image;
    int64_t rows, columns; /* of a block */
    bool slopes, within;   /* a set's own matrix: a pair of its images comes once, and stands for both orders */
    block pair, own;       /* own: columns x columns */
    dd_status (*going_on)(void *self);
    void *self;
    double done, total; /* pairs of the matrix at hand */
};

static dd_status compile(dd_kernel_blocks *e, dd_program **out, const block *w, bool own, bool slope)
{
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    const dd_val x = dd_input(g, "x", e->dtype, w->x.shape), y = own ? x : dd_input(g, "y", e->dtype, w->y.shape);
    const dd_val k = dd_kernel_apply(g, e->kernel, x, y), wrt[] = {x, y};
    const bool both = w->dy.data != NULL;
    dd_val d[2];
    if (slope) {
        dd_grad(g, dd_dot(g, dd_input(g, "d", e->dtype, w->d.shape), k), both ? 2 : 1, wrt, d);
        dd_output(g, "dx", d[0]);
        if (both) dd_output(g, "dy", d[1]);
    } else {
        dd_output(g, "k", k);
    }
    DD_TRY(dd_compile_draft(out, g, e->backend));
    DD_TRY(dd_bind(*out, "x", &w->x));
    if (!own) DD_TRY(dd_bind(*out, "y", &w->y));
    if (!slope) return dd_bind(*out, "k", &w->k);
    DD_TRY(dd_bind(*out, "d", &w->d));
    if (both) DD_TRY(dd_bind(*out, "dy", &w->dy));
    return dd_bind(*out, "dx", &w->dx);
}

static dd_status block_open(dd_kernel_blocks *e, block *w, int64_t n, int64_t m, bool own)
{
    const dd_image im = e->image;
    const dd_shape sx = DD_SHAPE(n, im.c, im.h, im.w), sy = DD_SHAPE(m, im.c, im.h, im.w);
    DD_TRY(dd_tensor_init(&w->x, e->dtype, sx));
    DD_TRY(dd_tensor_init(&w->k, e->dtype, DD_SHAPE(n, m)));
    if (!own) DD_TRY(dd_tensor_init(&w->y, e->dtype, sy));
    if (e->slopes) {
        DD_TRY(dd_tensor_init(&w->d, e->dtype, DD_SHAPE(n, m)));
        DD_TRY(dd_tensor_init(&w->dx, e->dtype, sx));
        if (e->within && !own) DD_TRY(dd_tensor_init(&w->dy, e->dtype, sy));
        DD_TRY(compile(e, &w->slope, w, own, true));
    }
    return compile(e, &w->run, w, own, false);
}

static void block_close(block *w)
{
    dd_tensor *const all[] = {&w->x, &w->y, &w->k, &w->d, &w->dx, &w->dy};
    dd_program_free(w->run);
    dd_program_free(w->slope);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
}

/* Tensors of a pair's cells that live at once, about; the more where a gradient holds those of all layers. */
enum { LIVE = 6, LIVE_SLOPE = 30 };

static void choose_sizes(dd_kernel_blocks *e, int64_t n, int64_t m, int64_t memory)
{
    const double size = e->dtype == DD_F64 ? 8 : 4, live = e->slopes ? LIVE_SLOPE : LIVE;
    const double pairs = memory > 0 ? (double)memory / (size * live * (double)dd_kernel_cells(e->kernel)) : HUGE_VAL;
    e->columns = m;
    while (e->columns > 1 && (double)e->columns * (double)e->columns > pairs) e->columns = (e->columns + 1) / 2;
    e->rows = pairs >= (double)n * (double)e->columns ? n : (int64_t)(pairs / (double)e->columns);
    if (e->rows < 1) e->rows = 1;
    if (e->within && e->rows > e->columns) e->rows = e->columns; /* strips end at the diagonal */
}

dd_status dd_kernel_blocks_new(dd_kernel_blocks **out, dd_backend *b, const dd_kernel *k, dd_dtype t, int64_t n,
                               int64_t m, int64_t memory, bool slopes)
{
    *out = NULL;
    dd_kernel_blocks *e = dd_alloc(1, sizeof *e);
    if (!e) return dd_fail(DD_ENOMEM, "out of memory for a kernel matrix");
    e->backend = b;
    e->kernel = k;
    e->dtype = t;
    e->image = dd_kernel_image(k);
    e->slopes = slopes;
    e->within = m == 0;
    choose_sizes(e, n, m ? m : n, memory);
    dd_status s = e->within ? block_open(e, &e->own, e->columns, e->columns, true) : DD_OK;
    if (s == DD_OK && !(e->within && e->columns == n)) s = block_open(e, &e->pair, e->rows, e->columns, false);
    if (s == DD_OK)
        *out = e;
    else
        dd_kernel_blocks_free(e);
    return s;
}

void dd_kernel_blocks_free(dd_kernel_blocks *e)
{
    if (!e) return;
    block_close(&e->pair);
    block_close(&e->own);
    dd_free(e);
}

void dd_kernel_blocks_watch(dd_kernel_blocks *e, dd_status (*going_on)(void *self), void *self)
{
    e->going_on = going_on;
    e->self = self;
}

double dd_kernel_blocks_done(const dd_kernel_blocks *e)
{
    return e->done < e->total ? e->done / e->total : 1;
}

/* Rows at .. at+n-1 of t to the first of w. */
static void rows_in(dd_tensor *w, const dd_tensor *t, int64_t at, int64_t n)
{
    const size_t row = dd_tensor_bytes(t) / (size_t)t->shape.dim[0];
    memcpy(w->data, (const char *)t->data + (size_t)at * row, (size_t)n * row);
}

/* Where a block lies: rows i .. i+n-1, columns j .. j+m-1. */
typedef struct place {
    int64_t i, n, j, m;
} place;

static void block_out(const block *w, const place *p, dd_tensor *out)
{
    const size_t size = dd_dtype_size(out->dtype), from = (size_t)w->k.shape.dim[1], to = (size_t)out->shape.dim[1];
    for (int64_t i = 0; i < p->n; i++)
        memcpy((char *)out->data + ((size_t)(p->i + i) * to + (size_t)p->j) * size,
               (const char *)w->k.data + (size_t)i * from * size, (size_t)p->m * size);
}

/* The block below the diagonal as the one above it. */
static void block_out_turned(const block *w, const place *p, dd_tensor *out)
{
    const size_t size = dd_dtype_size(out->dtype), from = (size_t)w->k.shape.dim[1], to = (size_t)out->shape.dim[1];
    for (int64_t j = 0; j < p->m; j++)
        for (int64_t i = 0; i < p->n; i++)
            memcpy((char *)out->data + ((size_t)(p->j + j) * to + (size_t)(p->i + i)) * size,
                   (const char *)w->k.data + ((size_t)i * from + (size_t)j) * size, size);
}

static double element(const dd_tensor *t, int64_t i)
{
    return t->dtype == DD_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

/* What is beside the block asks for nothing. Within one set the block stands for both orders of its pairs. */
static void block_in(block *w, const place *p, const dd_tensor *d, bool twice)
{
    const int64_t to = w->d.shape.dim[1], from = d->shape.dim[1];
    memset(w->d.data, 0, dd_tensor_bytes(&w->d));
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t j = 0; j < p->m; j++) {
            const double other = twice ? element(d, (p->j + j) * from + p->i + i) : 0;
            const double v = element(d, (p->i + i) * from + p->j + j) + other;
            if (w->d.dtype == DD_F64)
                dd_f64(&w->d)[i * to + j] = v;
            else
                dd_f32(&w->d)[i * to + j] = (float)v;
        }
}

static void add_rows(dd_tensor *to, int64_t at, int64_t n, const dd_tensor *from)
{
    const int64_t row = dd_shape_count(to->shape) / to->shape.dim[0];
    for (int64_t i = 0; i < n * row; i++)
        if (to->dtype == DD_F64)
            dd_f64(to)[at * row + i] += dd_f64(from)[i];
        else
            dd_f32(to)[at * row + i] += dd_f32(from)[i];
}

/* What is asked for: all of K(x,y) in out, or with d the gradient dx. y NULL: of K(x,x). */
typedef struct task {
    dd_kernel_blocks *e;
    const dd_tensor *x, *y, *d;
    dd_tensor *out, *dx;
} task;

static dd_status do_block(const task *t, block *w, const place *p)
{
    dd_kernel_blocks *e = t->e;
    const bool own = w == &e->own, both = e->within && !own;
    if (e->going_on) DD_TRY(e->going_on(e->self));
    e->done += (double)p->n * (double)p->m;
    rows_in(&w->x, t->x, p->i, p->n);
    if (!own) rows_in(&w->y, t->y ? t->y : t->x, p->j, p->m);
    if (!t->d) {
        DD_TRY(dd_exec(w->run));
        block_out(w, p, t->out);
        if (both) block_out_turned(w, p, t->out);
        return DD_OK;
    }
    block_in(w, p, t->d, both);
    DD_TRY(dd_exec(w->slope));
    if (both) add_rows(t->dx, p->j, p->m, &w->dy);
    add_rows(t->dx, p->i, p->n, &w->dx);
    return DD_OK;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The columns of p in rows from .. to-1. */
static dd_status strip(const task *t, place p, int64_t from, int64_t to)
{
    for (p.i = from; p.i < to; p.i += t->e->rows) {
        p.n = least(t->e->rows, to - p.i);
        DD_TRY(do_block(t, &t->e->pair, &p));
    }
    return DD_OK;
}

static dd_status all_blocks(const task *t)
{
    const int64_t n = t->x->shape.dim[0], m = t->y ? t->y->shape.dim[0] : n;
    t->e->done = 0;
    t->e->total = (double)n * (t->y ? (double)m : (double)(n + least(t->e->columns, n)) / 2);
    for (int64_t j = 0; j < m; j += t->e->columns) {
        place p = {.j = j, .m = least(t->e->columns, m - j)};
        if (t->y) {
            DD_TRY(strip(t, p, 0, n));
            continue;
        }
        p.i = j;
        p.n = p.m;
        DD_TRY(do_block(t, &t->e->own, &p));
        DD_TRY(strip(t, p, j + p.m, n));
    }
    return DD_OK;
}

dd_status dd_kernel_blocks_run(dd_kernel_blocks *e, const dd_tensor *x, const dd_tensor *y, dd_tensor *out)
{
    return all_blocks(&(task){.e = e, .x = x, .y = y, .out = out});
}

dd_status dd_kernel_blocks_slope(dd_kernel_blocks *e, const dd_tensor *x, const dd_tensor *y, const dd_tensor *d,
                                 dd_tensor *dx)
{
    return all_blocks(&(task){.e = e, .x = x, .y = y, .d = d, .dx = dx});
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Row groups row by row, plain rows of any strides. */
#include "backend/cpu/cpu_group.h"

char *dd_row_base(const dd_row_operand *o)
{
    char *q;
    const void *p = o->which ? o->in->in[o->which - 1] : o->in->out;
    memcpy(&q, &p, sizeof q);
    return q;
}

/* A place in the rows of one operand. */
typedef struct walk {
    const dd_row_operand *o;
    char *at, *base;
    dd_cursor c;
} walk;

/* Fills *w; the cursor only where it is used, since this runs for every operand of every block. */
static void walk_at(walk *w, const dd_row_plan *p, const dd_row_operand *o, int64_t row, char *memory)
{
    w->o = o;
    if (o->buffer >= 0) {
        w->at = memory + (size_t)o->buffer * p->buffer;
        return;
    }
    w->base = dd_row_base(o);
    if (o->steady) {
        w->at = w->base + row * o->row * (int64_t)p->size;
    } else {
        w->c = dd_cursor_at(&o->rows, o->rows.rank, row);
        w->at = w->base + w->c.off[0] * (int64_t)p->size;
    }
}

static inline void walk_on(const dd_row_plan *p, walk *w)
{
    if (w->o->steady) {
        w->at += w->o->row * (int64_t)p->size;
        return;
    }
    dd_cursor_next(&w->c, &w->o->rows, w->o->rows.rank);
    w->at = w->base + w->c.off[0] * (int64_t)p->size;
}

static void set(const dd_row_plan *p, char *y, double v)
{
    if (p->size == sizeof(float))
        *(float *)(void *)y = (float)v;
    else
        *(double *)(void *)y = v;
}

static double get(const dd_row_plan *p, const char *x)
{
    return p->size == sizeof(float) ? (double)*(const float *)(const void *)x : *(const double *)(const void *)x;
}

/* The value of member i in row r of the block step by step; x is the row it is made from. */
static void step_by_step(const dd_row_plan *p, int i, int64_t r, const char *x, char *memory, char *y)
{
    const dd_row_member *m = &p->m[i];
    const int from = m->op[m->wide].numbers;
    const double s = dd_row_numbers_of(p, i, memory).s[r];
    const float single = (float)s;
    const void *number = p->size == sizeof single ? (const void *)&single : (const void *)&s;
    if (from >= 0)
        step_by_step(p, from, r, x, memory, y);
    else
        memcpy(y, x, (size_t)m->width * p->size);
    const void *const operands[2] = {m->wide == 2 ? number : y, m->wide == 2 ? y : number};
    const int64_t strides[2] = {m->wide == 2 ? 0 : 1, m->wide == 2 ? 1 : 0};
    m->map(m->width, y, 1, operands, strides);
}

/* A row and the three numbers that make the value of an operand, or the value itself in spare row k. */
typedef struct made {
    const char *x;
    double n[3];
} made;

static made make(const dd_row_plan *p, const dd_row_operand *o, const dd_numbers *n, int64_t r, const char *x,
                 char *memory, int k)
{
    if (n->unsafe[r] == 0) return (made){x, {n->c[r], n->a[r], n->b[r]}};
    char *y = memory + p->spare + (size_t)k * p->spare_row;
    step_by_step(p, o->numbers, r, x, memory, y);
    return (made){y, {0, 1, 0}};
}

void dd_row_take(const dd_row_plan *p, const dd_row_operand *o, int64_t row, int64_t n, char *memory, double *to)
{
    walk w;
    walk_at(&w, p, o, row, memory);
    if (p->size == sizeof(float) && (o->steady || o->rows.rank == 2)) { /* runs of evenly spaced numbers */
        const int64_t run = o->steady ? n : o->rows.dim[1], step = o->steady ? o->row : o->rows.stride[0][1];
        const int64_t again = o->steady ? 0 : o->rows.stride[0][0] - run * step;
        const float *x = (const float *)(const void *)w.at;
        for (int64_t r = 0, at = o->steady ? 0 : row % run; r < n; at = 0, x += again) {
            const int64_t left = n - r < run - at ? n - r : run - at;
            for (int64_t k = 0; k < left; k++, x += step) *to++ = (double)*x;
            r += left;
        }
        return;
    }
    for (int64_t r = 0; r < n; r++) {
        to[r] = get(p, w.at);
        if (r + 1 < n) walk_on(p, &w);
    }
}

void dd_row_make_numbers(const dd_row_plan *p, int i, int64_t row, int64_t n, char *memory)
{
    const dd_row_member *m = &p->m[i];
    const dd_numbers from = dd_row_numbers_of(p, m->op[m->wide].numbers, memory), to = dd_row_numbers_of(p, i, memory);
    if (m->nop == 3)
        dd_row_take(p, &m->op[3 - m->wide], row, n, memory, to.s);
    else
        memset(to.s, 0, (size_t)n * sizeof *to.s);
    dd_numbers_step(m->in->ew, m->wide == 2, m->shift, n, &from, &to);
}

static void run_store(const dd_row_plan *p, int i, int64_t row, int64_t n, char *memory)
{
    const dd_row_member *m = &p->m[i];
    const dd_numbers numbers = dd_row_numbers_of(p, i, memory);
    dd_row_operand own = m->op[m->wide];
    own.numbers = i;
    walk y, base;
    walk_at(&y, p, &m->op[0], row, memory);
    walk_at(&base, p, &own, row, memory);
    for (int64_t r = 0; r < n; r++) {
        const made v = make(p, &own, &numbers, r, base.at, memory, 0);
        p->store(m->width, y.at, v.x, v.n, v.x, v.n);
        if (r + 1 == n) break;
        walk_on(p, &y);
        walk_on(p, &base);
    }
}

/* Two rows, or one that is read twice. With a pool, each value stays in a spare row until it is pooled into y. */
static void run_affine(const dd_row_plan *p, const dd_row_member *m, const dd_row_member *pool, int64_t row, int64_t n,
                       char *memory)
{
    const dd_row_operand *a = &m->op[1], *b = &m->op[m->nop > 2 ? 2 : 1];
    const dd_numbers na = dd_row_numbers_of(p, a->numbers, memory), nb = dd_row_numbers_of(p, b->numbers, memory);
    char *between = memory + p->spare + 2 * p->spare_row;
    walk y, x, z;
    walk_at(&y, p, pool ? &pool->op[0] : &m->op[0], row, memory);
    walk_at(&x, p, a, row, memory);
    walk_at(&z, p, b, row, memory);
    for (int64_t r = 0; r < n; r++) {
        const made v = make(p, a, &na, r, x.at, memory, 0), w = make(p, b, &nb, r, z.at, memory, 1);
        if (m->affine)
            m->affine(m->width, pool ? between : y.at, v.x, v.n, w.x, w.n);
        else
            set(p, y.at, m->affine_fold(m->width, v.x, v.n, w.x, w.n));
        if (pool) dd_cpu_pool_plane(pool->in->attr, false, (float *)(void *)between, (float *)(void *)y.at);
        if (r + 1 == n) break;
        walk_on(p, &y);
        walk_on(p, &x);
        walk_on(p, &z);
    }
}

static void run_rows(const dd_row_plan *p, const dd_row_member *m, int64_t row, int64_t n, char *memory)
{
    walk w[DD_INSTR_SRC];
    const void *x[DD_INSTR_SRC] = {NULL};
    int64_t sx[DD_INSTR_SRC] = {0};
    const int nsrc = m->nop - 1;
    for (int k = 0; k <= nsrc; k++) walk_at(&w[k], p, &m->op[k], row, memory);
    for (int k = 0; k < nsrc; k++) sx[k] = m->op[k + 1].inner;
    const int64_t calls = m->block ? 1 : n, width = m->block ? n * m->width : m->width;
    for (int64_t r = 0; r < calls; r++) {
        for (int k = 0; k < nsrc; k++) x[k] = w[k + 1].at;
        if (m->way == DD_WAY_MAP)
            m->map(width, w[0].at, m->op[0].inner, x, sx);
        else if (m->way == DD_WAY_FOLD)
            set(p, w[0].at, m->fold(m->width, x, sx));
        else
            dd_cpu_pool_plane(m->in->attr, m->large, x[0], (float *)(void *)w[0].at);
        for (int k = 0; k <= nsrc && r + 1 < calls; k++) walk_on(p, &w[k]);
    }
}

/* The rows are planes of one image after the other: those of dst that a CONV makes, or of u that its gradients read. */
static void run_planes(const dd_row_plan *p, const dd_row_member *m, int64_t row, int64_t n, char *memory)
{
    const dd_view *v = dd_row_planes_of(m->in);
    const int64_t channels = v->dim[1], plane = v->dim[2] * v->dim[3];
    dd_row_image *x = dd_row_image_of(m, memory);
    float *y = (float *)(void *)(memory + (size_t)m->op[0].buffer * p->buffer);
    for (int64_t r = row; r < row + n;) {
        const int64_t image = r / channels, first = r % channels, left = channels - first,
                      count = row + n - r < left ? row + n - r : left;
        const bool fresh = image != x->held;
        if (m->way == DD_WAY_BACK)
            dd_cpu_conv_few_back(m->in, image, first, count, x->buffer, y + (r - row) * plane);
        else if (m->way == DD_WAY_WEIGHTS)
            dd_cpu_conv_few_weigh(m->in, image, first, count, fresh, x->buffer, y + (r - row) * plane);
        else
            dd_cpu_conv_few_planes(m->in, image, first, count, fresh, x->buffer, y + (r - row) * plane);
        x->held = image;
        r += count;
    }
}

void dd_row_run(const dd_row_plan *p, int i, int64_t row, int64_t n, char *memory)
{
    const dd_row_member *m = &p->m[i];
    switch (m->way) {
    case DD_WAY_NOTHING:
    case DD_WAY_LATER: break;
    case DD_WAY_PLANES:
    case DD_WAY_WEIGHTS:
    case DD_WAY_BACK: run_planes(p, m, row, n, memory); break;
    case DD_WAY_NUMBERS: dd_row_make_numbers(p, i, row, n, memory); break;
    case DD_WAY_STORE:
        dd_row_make_numbers(p, i, row, n, memory);
        run_store(p, i, row, n, memory);
        break;
    case DD_WAY_AFFINE:
    case DD_WAY_AFFINE_FOLD: run_affine(p, m, NULL, row, n, memory); break;
    default:
        if (m->from >= 0)
            run_affine(p, &p->m[m->from], m, row, n, memory);
        else
            run_rows(p, m, row, n, memory);
    }
}

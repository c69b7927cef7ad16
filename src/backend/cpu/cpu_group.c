/* SPDX-License-Identifier: Apache-2.0
 *
 * Row groups: every member in turn over a block of rows that stays in cache. Blocks are cut by the shape alone and
 * handed out to the threads; values that only members read live in a few buffers of one block per thread. */
#include "backend/cpu/cpu_internal.h"

#include "backend/cpu/cpu_loops.h"
#include "backend/cpu/cpu_numbers.h"
#include "backend/cpu/cpu_rows.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 8192, ALIGN = 64, SPARE = 3 }; /* elements of a block; bytes; spare rows of a thread */

/* How one operand is found: in a buffer, or in memory from a cursor over the rows. */
typedef struct operand {
    const dd_instr *in; /* whose operand it is in memory, and which: 0 is dst */
    int which;
    int buffer;    /* -1: memory */
    dd_nest rows;  /* the row axes */
    int64_t row;   /* elements from one row to the next; only if `steady` */
    int64_t inner; /* within a row */
    bool steady;
    int numbers; /* member whose row numbers turn it into the value; -1: it is the value */
} operand;

typedef enum way {
    MAP,     /* dd_row_map, for rows or the whole block */
    FOLD,    /* reductions */
    POOL,    /* SUMPOOL, SUMPOOL_T */
    PLANES,  /* CONV: a row for each plane */
    NUMBERS, /* only the numbers of each row that make the value from its row: readers use them */
    STORE,   /* the numbers, and the value */
    AFFINE,  /* two operands, or a STEP, that readers compute */
    AFFINE_FOLD,
    LATER,  /* AFFINE, whose only reader is the POOL that follows: row by row with it */
    NOTHING /* a STEP that its reader computes */
} way;

typedef struct member {
    const dd_instr *in;
    way way;
    int nop, wide; /* NUMBERS, STORE: op[wide] is the row, the other operand the number */
    int place;     /* of its numbers among those of the thread; 0: of rows that are the value itself */
    bool shift;    /* NUMBERS, STORE: the steps before are additions */
    int from;      /* POOL: the LATER it reads; -1: none */
    operand op[DD_INSTR_SRC];
    int64_t width;
    bool block; /* MAP: one call for the block */
    bool large; /* SUMPOOL_T rather than SUMPOOL */
    dd_row_map map;
    dd_row_fold fold;
    dd_row_affine affine;
    dd_row_affine_fold affine_fold;
} member;

typedef struct plan {
    dd_cpu_state base;
    int64_t outer, block, blocks;
    size_t size, buffer, numbers, spare_row; /* bytes of an element, a buffer, a member's numbers, a spare row */
    size_t first_numbers, spare, image;      /* in a thread's memory: numbers, spare rows, a CONV's buffer */
    size_t thread;                           /* its bytes */
    dd_row_affine store;
    int n;
    member m[];
} plan;

static void plan_release(dd_cpu_state *s)
{
    dd_free(s);
}

static char *writable(const void *p)
{
    char *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

/* A place in the rows of one operand. */
typedef struct walk {
    const operand *o;
    char *at, *base;
    dd_cursor c;
} walk;

/* Fills *w; the cursor only where it is used, since this runs for every operand of every block. */
static void walk_at(walk *w, const plan *p, const operand *o, int64_t row, char *memory)
{
    w->o = o;
    if (o->buffer >= 0) {
        w->at = memory + (size_t)o->buffer * p->buffer;
        return;
    }
    w->base = writable(o->which ? o->in->in[o->which - 1] : o->in->out);
    if (o->steady) {
        w->at = w->base + row * o->row * (int64_t)p->size;
    } else {
        w->c = dd_cursor_at(&o->rows, o->rows.rank, row);
        w->at = w->base + w->c.off[0] * (int64_t)p->size;
    }
}

static inline void walk_on(const plan *p, walk *w)
{
    if (w->o->steady) {
        w->at += w->o->row * (int64_t)p->size;
        return;
    }
    dd_cursor_next(&w->c, &w->o->rows, w->o->rows.rank);
    w->at = w->base + w->c.off[0] * (int64_t)p->size;
}

static void set(const plan *p, char *y, double v)
{
    if (p->size == sizeof(float))
        *(float *)(void *)y = (float)v;
    else
        *(double *)(void *)y = v;
}

static double get(const plan *p, const char *x)
{
    return p->size == sizeof(float) ? (double)*(const float *)(const void *)x : *(const double *)(const void *)x;
}

static dd_numbers numbers_at(const plan *p, int place, char *memory)
{
    return dd_numbers_at((double *)(void *)(memory + p->first_numbers + (size_t)place * p->numbers), p->block);
}

/* Of member i; -1: of a row that is the value itself. */
static dd_numbers numbers_of(const plan *p, int i, char *memory)
{
    return numbers_at(p, i < 0 ? 0 : p->m[i].place, memory);
}

/* The value of member i in row r of the block step by step; x is the row it is made from. */
static void step_by_step(const plan *p, int i, int64_t r, const char *x, char *memory, char *y)
{
    const member *m = &p->m[i];
    const int from = m->op[m->wide].numbers;
    const double s = numbers_of(p, i, memory).s[r];
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

static made make(const plan *p, const operand *o, const dd_numbers *n, int64_t r, const char *x, char *memory, int k)
{
    if (n->unsafe[r] == 0) return (made){x, {n->c[r], n->a[r], n->b[r]}};
    char *y = memory + p->spare + (size_t)k * p->spare_row;
    step_by_step(p, o->numbers, r, x, memory, y);
    return (made){y, {0, 1, 0}};
}

/* The numbers that an operand has in n rows. */
static void take(const plan *p, const operand *o, int64_t row, int64_t n, char *memory, double *to)
{
    walk w;
    walk_at(&w, p, o, row, memory);
    if (o->steady && p->size == sizeof(float)) {
        const float *x = (const float *)(const void *)w.at;
        for (int64_t r = 0; r < n; r++) to[r] = (double)x[r * o->row];
        return;
    }
    for (int64_t r = 0; r < n; r++) {
        to[r] = get(p, w.at);
        if (r + 1 < n) walk_on(p, &w);
    }
}

static void run_numbers(const plan *p, int i, int64_t row, int64_t n, char *memory)
{
    const member *m = &p->m[i];
    const operand *x = &m->op[m->wide];
    const dd_numbers from = numbers_of(p, x->numbers, memory), to = numbers_of(p, i, memory);
    if (m->nop == 3)
        take(p, &m->op[3 - m->wide], row, n, memory, to.s);
    else
        memset(to.s, 0, (size_t)n * sizeof *to.s);
    dd_numbers_step(m->in->ew, m->wide == 2, m->shift, n, &from, &to);
    if (m->way != STORE) return;
    operand own = *x;
    own.numbers = i;
    walk y, base;
    walk_at(&y, p, &m->op[0], row, memory);
    walk_at(&base, p, x, row, memory);
    for (int64_t r = 0; r < n; r++) {
        const made v = make(p, &own, &to, r, base.at, memory, 0);
        p->store(m->width, y.at, v.x, v.n, v.x, v.n);
        if (r + 1 == n) break;
        walk_on(p, &y);
        walk_on(p, &base);
    }
}

/* Two rows, or one that is read twice. With a pool, each value stays in a spare row until it is pooled into y. */
static void run_affine(const plan *p, const member *m, const member *pool, int64_t row, int64_t n, char *memory)
{
    const operand *a = &m->op[1], *b = &m->op[m->nop > 2 ? 2 : 1];
    const dd_numbers na = numbers_of(p, a->numbers, memory), nb = numbers_of(p, b->numbers, memory);
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

static void run_rows(const plan *p, const member *m, int64_t row, int64_t n, char *memory)
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
        if (m->way == MAP)
            m->map(width, w[0].at, m->op[0].inner, x, sx);
        else if (m->way == FOLD)
            set(p, w[0].at, m->fold(m->width, x, sx));
        else
            dd_cpu_pool_plane(m->in->attr, m->large, x[0], (float *)(void *)w[0].at);
        for (int k = 0; k <= nsrc && r + 1 < calls; k++) walk_on(p, &w[k]);
    }
}

/* *held: the image in the thread's buffer, -1: none. */
static void run_planes(const plan *p, const member *m, int64_t row, int64_t n, char *memory, int64_t *held)
{
    const int64_t channels = m->in->dst.dim[1], plane = m->in->dst.dim[2] * m->in->dst.dim[3];
    float *buffer = (float *)(void *)(memory + p->image),
          *y = (float *)(void *)(memory + (size_t)m->op[0].buffer * p->buffer);
    for (int64_t r = row; r < row + n;) {
        const int64_t image = r / channels, first = r % channels, left = channels - first,
                      count = row + n - r < left ? row + n - r : left;
        dd_cpu_conv_few_planes(m->in, image, first, count, image != *held, buffer, y + (r - row) * plane);
        *held = image;
        r += count;
    }
}

static void run_member(const plan *p, int i, int64_t row, int64_t n, char *memory, int64_t *held)
{
    switch (p->m[i].way) {
    case NOTHING:
    case LATER: break;
    case PLANES: run_planes(p, &p->m[i], row, n, memory, held); break;
    case NUMBERS:
    case STORE: run_numbers(p, i, row, n, memory); break;
    case AFFINE:
    case AFFINE_FOLD: run_affine(p, &p->m[i], NULL, row, n, memory); break;
    default:
        if (p->m[i].from >= 0)
            run_affine(p, &p->m[p->m[i].from], &p->m[i], row, n, memory);
        else
            run_rows(p, &p->m[i], row, n, memory);
    }
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const plan *p = in->state;
    const int64_t parts = b->threads > 1 && p->outer * in->attr[1] >= DD_CPU_GRAIN ? b->threads : 1;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (parts > 1)
    for (int64_t t = 0; t < parts; t++) {
        char *memory = (char *)scratch + (size_t)t * p->thread;
        int64_t held = -1;
        const dd_numbers plain = numbers_at(p, 0, memory);
        dd_numbers_plain(&plain, p->block);
        for (int64_t u = p->blocks * t / parts; u < p->blocks * (t + 1) / parts; u++) {
            const int64_t row = u * p->block, n = p->outer - row < p->block ? p->outer - row : p->block;
            for (int i = 0; i < p->n; i++) run_member(p, i, row, n, memory, &held);
        }
    }
    return DD_OK;
}

/* ---- preparing ---- */

/* A buffer holds row after row; memory advances evenly if its row axes are one. */
static operand operand_of(const dd_instr *in, int k)
{
    const dd_view *v = k ? &in->src[k - 1] : &in->dst;
    const int last = v->rank - 1;
    operand o = {
        .in = in, .which = k, .buffer = in->buffer[k] - 1, .inner = v->stride[last], .steady = true, .numbers = -1};
    if (o.buffer >= 0) {
        o.row = v->stride[last] == 1 ? v->dim[last] : 1;
        if (v->dim[last] == 1) o.inner = 1;
        return o;
    }
    o.rows = (dd_nest){.rank = last, .nop = 1};
    for (int i = 0; i < last; i++) {
        o.rows.dim[i] = v->dim[i];
        o.rows.stride[0][i] = v->stride[i];
    }
    dd_nest_merge(&o.rows);
    o.steady = o.rows.rank < 2;
    o.row = o.rows.rank == 1 ? o.rows.stride[0][0] : 0;
    if (v->dim[last] == 1) o.inner = o.row; /* one call then runs over rows */
    return o;
}

/* The value of member i: its own row, or, where readers compute it, the row it is made from. */
static operand value_of(const plan *p, int i)
{
    const member *m = &p->m[i];
    operand o = m->op[m->wide];
    if (m->way == NUMBERS) o.numbers = i;
    return o;
}

static void choose_kernel(member *m, const dd_instr *in, const dd_rows *f)
{
    switch (in->kind) {
    case DD_K_POINTWISE: m->map = f->map[in->ew]; break;
    case DD_K_SUM: m->fold = f->sum; break;
    case DD_K_SUMMUL: m->fold = f->dot; break;
    case DD_K_MAXR: m->fold = f->max; break;
    default: m->way = POOL; m->large = in->kind == DD_K_SUMPOOL_T;
    }
    if (m->fold) m->way = FOLD;
}

/* Whether the row axis of source j is one number. */
static bool is_number(const dd_instr *in, int j)
{
    return in->src[j].stride[in->src[j].rank - 1] == 0;
}

/* Whether all steps that make the value of member i from a row are row + number or row - number. */
static bool additions(const plan *p, int i)
{
    if (i < 0) return true;
    const member *m = &p->m[i];
    return m->shift && (m->in->ew == DD_EW_ADD || (m->in->ew == DD_EW_SUB && m->wide == 1));
}

/* A member whose readers compute it, or one that reads such a member. */
static void choose_affine(const plan *p, member *m, const dd_rows *f)
{
    const dd_instr *in = m->in;
    const bool spared = in->buffer[0] < 0, step = in->kind == DD_K_POINTWISE && in->ew == DD_EW_STEP;
    bool reads = false, gate = false;
    m->wide = in->nsrc > 1 && is_number(in, 0) ? 2 : 1;
    for (int j = 0; j < in->nsrc; j++) {
        if (in->buffer[1 + j] >= 0) continue;
        const int from = -in->buffer[1 + j] - 1;
        reads = true;
        m->op[1 + j] = value_of(p, from);
        if (p->m[from].way != NOTHING) continue;
        gate = true;
        if (j == 0) { /* the gate is the second operand */
            const operand other = in->buffer[2] < 0 ? value_of(p, -in->buffer[2] - 1) : m->op[2];
            m->op[2] = m->op[1];
            m->op[1] = other;
            break;
        }
    }
    if (!spared && !reads) return;
    if (step) {
        m->way = NOTHING;
    } else if (in->kind != DD_K_POINTWISE) {
        m->way = AFFINE_FOLD;
        m->affine_fold = in->kind == DD_K_SUM ? f->affine_sum : f->affine_dot;
    } else if (in->ew == DD_EW_NEG || (in->nsrc == 2 && (is_number(in, 0) || is_number(in, 1)))) {
        m->way = spared ? NUMBERS : STORE;
        m->shift = additions(p, m->op[m->wide].numbers);
    } else {
        m->way = AFFINE;
        m->affine = gate ? f->affine_gate : f->affine[in->ew];
    }
}

static void plan_member(const plan *p, member *m, const dd_instr *in, const dd_rows *f)
{
    m->in = in;
    m->from = -1;
    if (in->kind == DD_K_CONV) {
        m->way = PLANES;
        m->op[0].buffer = in->buffer[0] - 1;
        return;
    }
    choose_kernel(m, in, f);
    m->nop = in->nsrc + 1;
    m->width = m->map ? in->dst.dim[in->dst.rank - 1] : in->src[0].dim[in->src[0].rank - 1];
    m->block = m->map != NULL;
    for (int k = 0; k <= in->nsrc; k++) {
        m->op[k] = operand_of(in, k);
        const operand *o = &m->op[k];
        m->block = m->block && o->steady && (m->width == 1 || o->row == m->width * o->inner);
    }
    choose_affine(p, m, f);
}

/* Pairs a pooling with the row before it that it alone reads, where the row's buffer serves nothing else. Not
 * SUMPOOL_T: its target may have taken over the buffer of what the row is made from, and it writes ahead of what it
 * reads. */
static void pair_pools(plan *p)
{
    for (int j = 1; j < p->n; j++) {
        int i = j - 1, readers = 0;
        while (i > 0 && (p->m[i].way == NUMBERS || p->m[i].way == NOTHING)) i--;
        const int buffer = p->m[i].in->buffer[0];
        if (p->m[j].way != POOL || p->m[j].large || p->m[i].way != AFFINE || buffer <= 0 ||
            p->m[j].in->buffer[1] != buffer)
            continue;
        for (int k = 0; k < p->n; k++)
            for (int s = 0; s < p->m[k].in->nsrc; s++) readers += p->m[k].in->buffer[1 + s] == buffer;
        if (readers != 1) continue;
        p->m[i].way = LATER;
        p->m[j].from = i;
    }
}

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

dd_status dd_cpu_group_prepare(dd_backend *b, dd_instr *in)
{
    const int n = (int)in->attr[2];
    const int64_t len = in->attr[1];
    const dd_dtype t = in->member[0]->dst.dtype;
    int places = 1;
    size_t image = 0;
    const dd_rows *f = t == DD_F32 ? &dd_cpu_rows_f32 : &dd_cpu_rows_f64;
    plan *p = dd_alloc(1, sizeof *p + (size_t)n * sizeof p->m[0]);
    if (!p) return dd_fail(DD_ENOMEM, "no memory for a row group of %d instructions", n);
    p->base.release = plan_release;
    p->n = n;
    p->outer = in->attr[0];
    p->block = BLOCK / len > 1 ? BLOCK / len : 1;
    p->blocks = (p->outer + p->block - 1) / p->block;
    p->size = dd_dtype_size(t);
    p->store = f->affine_store;
    p->buffer = round_up((size_t)(p->block * len) * p->size);
    p->numbers = round_up((size_t)p->block * DD_NUMBERS * sizeof(double));
    p->spare_row = round_up((size_t)len * p->size);
    for (int i = 0; i < n; i++) {
        plan_member(p, &p->m[i], in->member[i], f);
        p->m[i].place = places;
        places += p->m[i].way == NUMBERS || p->m[i].way == STORE;
        if (p->m[i].way == PLANES) image = round_up((size_t)dd_cpu_conv_few_buffer(in->member[i]) * sizeof(float));
    }
    pair_pools(p);
    p->first_numbers = p->buffer * (size_t)in->attr[3];
    p->spare = p->first_numbers + p->numbers * (size_t)places;
    p->image = p->spare + SPARE * p->spare_row;
    p->thread = p->image + image;
    in->scratch = p->thread * (size_t)b->threads;
    in->state = p;
    in->launch = launch;
    return DD_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Row groups whose rows lie in blocks of as many rows as a vector has lanes. What is one number a row stays as it is;
 * rows that lie in memory as they are get turned on their way in and out. */
#include "backend/cpu/cpu_group.h"

#ifdef DD_STRIPES_X86

/* Spare blocks: operands that are turned or spread, the result, values made step by step, a number for each row. */
enum { FIRST, SECOND, RESULT, MADE, SPREAD = MADE + 2 };

const dd_stripes *dd_stripes_here(void)
{
    const int n = dd_cpu_lanes();
    return n == 16 ? &dd_stripes_avx512 : n == 8 ? &dd_stripes_avx2 : NULL;
}

/* Rows at hand: those of the pass begin at `row`, the block `at` rows later. */
typedef struct here {
    const dd_row_plan *p;
    int64_t row, at;
    char *memory;
} here;

static float *spare(const here *h, int k)
{
    return (float *)(void *)(h->memory + h->p->spare + (size_t)k * h->p->spare_row);
}

/* Where the block lies, if it lies as a block. */
static float *place(const here *h, const dd_row_operand *o)
{
    const int64_t rows = o->buffer < 0 ? h->row + h->at : h->at;
    char *base = o->buffer < 0 ? dd_row_base(o) : h->memory + (size_t)o->buffer * h->p->buffer;
    return (float *)(void *)(base + rows * o->row * (int64_t)(o->half ? sizeof(uint16_t) : sizeof(float)));
}

static uint16_t *halves(const here *h, const dd_row_operand *o)
{
    return (uint16_t *)(void *)place(h, o);
}

/* It has to be converted on its way in or out. */
static bool apart(const dd_row_operand *o)
{
    return o->turned || o->half;
}

static void spread(const here *h, const dd_row_operand *o, int64_t width, float *to)
{
    double numbers[16];
    if (o->buffer >= 0) { /* dd_row_take begins at the first row of the buffer */
        const float *x = place(h, o);
        for (int l = 0; l < h->p->stripes->lanes; l++) numbers[l] = (double)x[l];
    } else {
        dd_row_take(h->p, o, h->row + h->at, h->p->stripes->lanes, h->memory, numbers);
    }
    h->p->stripes->spread(width, numbers, to);
}

/* An operand of a member whose rows have `width` elements; k: spare block that it may use. */
static const float *fetch(const here *h, const dd_row_operand *o, int64_t width, int k)
{
    if (o->inner == 0) {
        spread(h, o, width, spare(h, k));
        return spare(h, k);
    }
    if (o->half)
        h->p->stripes->widen(o->row, halves(h, o), spare(h, k));
    else if (o->turned)
        h->p->stripes->to_block(o->row, place(h, o), spare(h, k));
    else
        return place(h, o);
    return spare(h, k);
}

/* Where a result goes, and how it gets there. */
static float *target(const here *h, const dd_row_operand *o)
{
    return apart(o) ? spare(h, RESULT) : place(h, o);
}

static void deliver(const here *h, const dd_row_operand *o)
{
    if (o->half)
        h->p->stripes->narrow(o->row, spare(h, RESULT), halves(h, o));
    else if (o->turned)
        h->p->stripes->to_rows(o->row, spare(h, RESULT), place(h, o));
}

/* The value of member i step by step; x is the block it is made from. */
static void step_by_step(const here *h, int i, const float *x, float *y)
{
    const dd_row_member *m = &h->p->m[i];
    const int64_t n = m->width * h->p->stripes->lanes;
    const int from = m->op[m->wide].numbers;
    float *number = spare(h, SPREAD);
    if (from >= 0)
        step_by_step(h, from, x, y);
    else
        memcpy(y, x, (size_t)n * sizeof *y);
    h->p->stripes->spread(m->width, dd_row_numbers_of(h->p, i, h->memory).s + h->at, number);
    const void *const operands[2] = {m->wide == 2 ? number : y, m->wide == 2 ? y : number};
    const int64_t strides[2] = {1, 1};
    m->map(n, y, 1, operands, strides);
}

/* k: FIRST or SECOND. */
static dd_stripe value(const here *h, const dd_row_operand *o, int64_t width, int k)
{
    const float *x = fetch(h, o, width, k);
    if (o->numbers < 0) return (dd_stripe){x, NULL, NULL, NULL};
    const dd_numbers n = dd_row_numbers_of(h->p, o->numbers, h->memory);
    double unsafe = 0;
    for (int l = 0; l < h->p->stripes->lanes; l++) unsafe += n.unsafe[h->at + l];
    if (unsafe == 0) return (dd_stripe){x, n.c + h->at, n.a + h->at, n.b + h->at};
    step_by_step(h, o->numbers, x, spare(h, MADE + k));
    return (dd_stripe){spare(h, MADE + k), NULL, NULL, NULL};
}

static dd_stripe_map map_of(const dd_row_member *m, const dd_stripes *f)
{
    if (m->gate) return f->gate;
    return m->in->ew == DD_EW_ADD ? f->add : m->in->ew == DD_EW_SUB ? f->subtract : f->multiply;
}

static dd_stripe_map_sum map_sum_of(const dd_row_member *m, const dd_stripes *f)
{
    if (m->gate) return f->gate_sum;
    return m->in->ew == DD_EW_ADD ? f->add_sum : m->in->ew == DD_EW_SUB ? f->subtract_sum : f->multiply_sum;
}

static dd_stripe_map fold_of(const dd_row_member *m, const dd_stripes *f)
{
    return m->in->kind == DD_K_SUM ? f->sum : m->in->kind == DD_K_SUMMUL ? f->dot : f->max;
}

static void store(const here *h, int i)
{
    const dd_row_member *m = &h->p->m[i];
    dd_row_operand own = m->op[m->wide];
    own.numbers = i;
    const dd_stripe v = value(h, &own, m->width, FIRST);
    h->p->stripes->store(m->width, target(h, &m->op[0]), v, v);
    deliver(h, &m->op[0]);
}

/* Both are the same rows, which need not be converted twice. */
static bool alike(const dd_row_operand *a, const dd_row_operand *b)
{
    if (a->buffer != b->buffer || a->numbers != b->numbers || a->inner == 0 || b->inner == 0) return false;
    return a->buffer >= 0 || dd_row_base(a) == dd_row_base(b);
}

static void two_values(const here *h, const dd_row_member *m, dd_stripe_map f, float *y)
{
    const dd_row_operand *a = &m->op[1], *b = &m->op[m->nop > 2 ? 2 : 1];
    const dd_stripe v = value(h, a, m->width, FIRST);
    f(m->width, y, v, alike(a, b) ? v : value(h, b, m->width, SECOND));
}

static void two_values_summed(const here *h, const dd_row_member *m)
{
    const dd_row_operand *a = &m->op[1], *b = &m->op[m->nop > 2 ? 2 : 1];
    const dd_stripe v = value(h, a, m->width, FIRST);
    map_sum_of(m, h->p->stripes)(m->width, m->kept ? place(h, &m->op[0]) : NULL, place(h, &h->p->m[m->sum].op[0]), v,
                                 alike(a, b) ? v : value(h, b, m->width, SECOND));
}

static void gate_enlarged(const here *h, const dd_row_member *m)
{
    const dd_row_member *pool = &h->p->m[m->from];
    const float *x = fetch(h, &pool->op[1], pool->width, FIRST);
    h->p->stripes->enlarge_gated(pool->in->attr, x, target(h, &m->op[0]), value(h, &m->op[2], m->width, SECOND));
    deliver(h, &m->op[0]);
}

static void pool(const here *h, const dd_row_member *m)
{
    const dd_stripes *f = h->p->stripes;
    const int64_t *plane = (m->pool < 0 ? m : &h->p->m[m->pool])->in->attr;
    const float scale = m->pool < 0 ? 1 : *place(h, &m->op[m->scale]);
    const dd_row_member *before = m->from < 0 ? NULL : &h->p->m[m->from];
    float *to = target(h, &m->op[0]);
    if (before && before->gate && alike(&before->op[1], &before->op[2])) {
        f->halve_gated(plane, scale, to, value(h, &before->op[1], before->width, FIRST));
    } else if (before) {
        two_values(h, before, map_of(before, f), spare(h, SPREAD));
        f->halve(plane, scale, spare(h, SPREAD), to);
    } else {
        const float *x = fetch(h, m->pool < 0 ? &m->op[1] : &h->p->m[m->pool].op[1], m->width, FIRST);
        if (m->large)
            f->enlarge(plane, x, to);
        else
            f->halve(plane, scale, x, to);
    }
    deliver(h, &m->op[0]);
}

static void map(const here *h, const dd_row_member *m, int64_t rows)
{
    static const int own[DD_INSTR_SRC] = {FIRST, SECOND, MADE, MADE + 1};
    int64_t strides[DD_INSTR_SRC] = {0};
    const void *x[DD_INSTR_SRC] = {NULL};
    for (int k = 0; k + 1 < m->nop; k++) {
        const dd_row_operand *o = &m->op[k + 1];
        strides[k] = !dd_row_constant(o);
        x[k] = strides[k] ? fetch(h, o, m->width, own[k]) : place(h, o);
    }
    m->map(rows * m->width, target(h, &m->op[0]), 1, x, strides);
    deliver(h, &m->op[0]);
}

/* Whether the rows of a MAP lie one behind the other in every operand, so that one call takes the whole pass. */
static bool in_one(const dd_row_member *m)
{
    for (int k = 0; k < m->nop; k++)
        if (apart(&m->op[k]) || (m->op[k].inner == 0 && !dd_row_constant(&m->op[k]))) return false;
    return true;
}

static void one_block(const here *h, int i)
{
    const dd_row_member *m = &h->p->m[i];
    if (m->sum >= 0) {
        two_values_summed(h, m);
        return;
    }
    switch (m->way) {
    case DD_WAY_MAP: map(h, m, h->p->stripes->lanes); break;
    case DD_WAY_STORE: store(h, i); break;
    case DD_WAY_POOL: pool(h, m); break;
    case DD_WAY_AFFINE:
        if (m->from >= 0) {
            gate_enlarged(h, m);
            break;
        }
        two_values(h, m, map_of(m, h->p->stripes), target(h, &m->op[0]));
        deliver(h, &m->op[0]);
        break;
    default: two_values(h, m, fold_of(m, h->p->stripes), place(h, &m->op[0]));
    }
}

void dd_row_run_blocks(const dd_row_plan *p, int i, int64_t row, int64_t n, char *memory)
{
    const dd_row_member *m = &p->m[i];
    here h = {p, row, 0, memory};
    if (m->way == DD_WAY_NOTHING || m->way == DD_WAY_LATER) return;
    if (m->way == DD_WAY_STORE) dd_row_make_numbers(p, i, row, n, memory);
    const bool narrow = m->width == 1 && m->way != DD_WAY_POOL; /* numbers of rows; a pool may make a row of one */
    if (dd_row_planes_of(m->in) || m->way == DD_WAY_NUMBERS || narrow)
        dd_row_run(p, i, row, n, memory);
    else if (m->way == DD_WAY_MAP && m->sum < 0 && in_one(m))
        map(&h, m, n);
    else
        for (; h.at < n; h.at += p->stripes->lanes) one_block(&h, i);
}
#else
const dd_stripes *dd_stripes_here(void)
{
    return NULL;
}

void dd_row_run_blocks(const dd_row_plan *p, int i, int64_t row, int64_t n, char *memory)
{
    dd_row_run(p, i, row, n, memory);
}
#endif

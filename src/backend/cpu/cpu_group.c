/* SPDX-License-Identifier: Apache-2.0
 *
 * Row groups: every member in turn over a block of rows that stays in cache. Blocks are cut by the shape alone and
 * handed out to the threads, in order; values that only members read live in a few buffers of one block per thread. */
#include "backend/cpu/cpu_group.h"

#include "base/memory.h"

enum { BLOCK = 8192, MOST_BLOCKED = 32768, ALIGN = 64 }; /* elements of a pass, of a block of rows; bytes */

static void plan_release(dd_cpu_state *s)
{
    dd_free(s);
}

static bool convolves(const dd_row_member *m)
{
    return m->way == DD_WAY_PLANES || m->way == DD_WAY_WEIGHTS || m->way == DD_WAY_BACK;
}

/* Part t of the rows, whole units. */
static void run_part(const dd_row_plan *p, char *scratch, int t, int parts)
{
    void (*run)(const dd_row_plan *, int, int64_t, int64_t, char *) = p->stripes ? dd_row_run_blocks : dd_row_run;
    char *memory = scratch + (size_t)t * p->thread;
    const dd_numbers plain = dd_row_numbers_at(p, 0, memory);
    if (p->numbers) dd_numbers_plain(&plain, p->block);
    for (int i = 0; i < p->n; i++) {
        if (!convolves(&p->m[i])) continue;
        dd_row_image_of(&p->m[i], memory)->held = -1;
        dd_cpu_conv_few_start(p->m[i].in, dd_row_image_of(&p->m[i], memory)->buffer);
    }
    const int64_t units = (p->outer + p->unit - 1) / p->unit, end = units * (t + 1) / parts * p->unit,
                  last = end < p->outer ? end : p->outer;
    for (int64_t row = units * t / parts * p->unit; row < last; row += p->block) {
        const int64_t n = last - row < p->block ? last - row : p->block;
        for (int i = 0; i < p->n; i++) run(p, i, row, n, memory);
    }
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_row_plan *p = in->state;
    const int parts = b->threads > 1 && p->outer * in->attr[1] >= DD_CPU_GRAIN ? b->threads : 1;
    if (parts == 1) {
        run_part(p, scratch, 0, 1);
    } else {
#pragma omp parallel for schedule(static) num_threads(b->threads)
        for (int t = 0; t < parts; t++) run_part(p, scratch, t, parts);
    }
    for (int i = 0; i < p->n; i++) /* a thread has its own sums, which are added in their order */
        if (p->m[i].way == DD_WAY_WEIGHTS)
            dd_cpu_conv_few_end(p->m[i].in, parts, (int64_t)(p->thread / sizeof(float)),
                                dd_row_image_of(&p->m[i], scratch)->buffer);
    return DD_OK;
}

/* ---- preparing ---- */

/* A buffer holds row after row; memory advances evenly if its row axes are one. */
static dd_row_operand operand_of(const dd_instr *in, int k)
{
    const dd_view *v = k ? &in->src[k - 1] : &in->dst;
    const int last = v->rank - 1;
    dd_row_operand o = {
        .in = in, .which = k, .buffer = in->buffer[k] - 1, .inner = v->stride[last], .steady = true, .numbers = -1};
    o.turned = o.buffer < 0 && v->dim[last] > 1 && !(in->blocked >> k & 1);
    o.half = in->half >> k & 1;
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
static dd_row_operand value_of(const dd_row_plan *p, int i)
{
    const dd_row_member *m = &p->m[i];
    dd_row_operand o = m->op[m->wide];
    if (m->way == DD_WAY_NUMBERS) o.numbers = i;
    return o;
}

static void choose_kernel(dd_row_member *m, const dd_instr *in, const dd_rows *f)
{
    switch (in->kind) {
    case DD_K_POINTWISE: m->map = f->map[in->ew]; break;
    case DD_K_SUM: m->fold = f->sum; break;
    case DD_K_SUMMUL: m->fold = f->dot; break;
    case DD_K_MAXR: m->fold = f->max; break;
    default: m->way = DD_WAY_POOL; m->large = in->kind == DD_K_SUMPOOL_T;
    }
    if (m->fold) m->way = DD_WAY_FOLD;
}

/* Whether the row axis of source j is one number. */
static bool is_number(const dd_instr *in, int j)
{
    return in->src[j].stride[in->src[j].rank - 1] == 0;
}

/* Whether all steps that make the value of member i from a row are row + number or row - number. */
static bool additions(const dd_row_plan *p, int i)
{
    if (i < 0) return true;
    const dd_row_member *m = &p->m[i];
    return m->shift && (m->in->ew == DD_EW_ADD || (m->in->ew == DD_EW_SUB && m->wide == 1));
}

/* In blocks: a row and one number a row, which would be spread over a row first. */
static bool row_and_number(const dd_row_plan *p, const dd_row_member *m)
{
    const dd_instr *in = m->in;
    const bool linear =
        in->ew == DD_EW_ADD || in->ew == DD_EW_SUB || in->ew == DD_EW_MUL || (in->ew == DD_EW_DIV && !is_number(in, 0));
    if (!p->stripes || in->kind != DD_K_POINTWISE || m->width == 1 || !linear || in->nsrc != 2) return false;
    return is_number(in, 0) != is_number(in, 1) && !dd_row_constant(&m->op[is_number(in, 0) ? 1 : 2]);
}

/* A member whose readers compute it, or one that reads such a member, or in blocks a row and a number. */
static void choose_affine(const dd_row_plan *p, dd_row_member *m, const dd_rows *f)
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
        if (p->m[from].way != DD_WAY_NOTHING) continue;
        gate = true;
        if (j == 0) { /* the gate is the second operand */
            const dd_row_operand other = in->buffer[2] < 0 ? value_of(p, -in->buffer[2] - 1) : m->op[2];
            m->op[2] = m->op[1];
            m->op[1] = other;
            break;
        }
    }
    if (!spared && !reads && !row_and_number(p, m)) return;
    if (step) {
        m->way = DD_WAY_NOTHING;
    } else if (in->kind != DD_K_POINTWISE) {
        m->way = DD_WAY_AFFINE_FOLD;
        m->affine_fold = in->kind == DD_K_SUM ? f->affine_sum : f->affine_dot;
    } else if (in->ew == DD_EW_NEG || (in->nsrc == 2 && (is_number(in, 0) || is_number(in, 1)))) {
        m->way = spared ? DD_WAY_NUMBERS : DD_WAY_STORE;
        m->shift = additions(p, m->op[m->wide].numbers);
    } else {
        m->way = DD_WAY_AFFINE;
        m->gate = gate;
        m->affine = gate ? f->affine_gate : f->affine[in->ew];
    }
}

static void plan_member(const dd_row_plan *p, dd_row_member *m, const dd_instr *in, const dd_rows *f)
{
    m->in = in;
    m->from = m->pool = m->sum = -1;
    if (dd_row_planes_of(in)) {
        m->way = in->kind == DD_K_CONV ? DD_WAY_PLANES : in->kind == DD_K_CONV_DW ? DD_WAY_WEIGHTS : DD_WAY_BACK;
        m->op[0].buffer = in->buffer[in->kind == DD_K_CONV ? 0 : in->kind == DD_K_CONV_DW ? 2 : 1] - 1;
        return;
    }
    choose_kernel(m, in, f);
    m->nop = in->nsrc + 1;
    m->width = m->map ? in->dst.dim[in->dst.rank - 1] : in->src[0].dim[in->src[0].rank - 1];
    m->block = m->map != NULL;
    for (int k = 0; k <= in->nsrc; k++) {
        m->op[k] = operand_of(in, k);
        const dd_row_operand *o = &m->op[k];
        m->block = m->block && o->steady && (m->width == 1 || o->row == m->width * o->inner);
    }
    choose_affine(p, m, f);
}

/* Pairs a pooling with the row before it that it alone reads, where the row's buffer serves nothing else. Not
 * SUMPOOL_T: its target may have taken over the buffer of what the row is made from, and it writes ahead of what it
 * reads. */
static void pair_pools(dd_row_plan *p)
{
    for (int j = 1; j < p->n; j++) {
        int i = j - 1, readers = 0;
        while (i > 0 && (p->m[i].way == DD_WAY_NUMBERS || p->m[i].way == DD_WAY_NOTHING)) i--;
        const int buffer = p->m[i].in->buffer[0];
        if (p->m[j].way != DD_WAY_POOL || p->m[j].large || p->m[i].way != DD_WAY_AFFINE || buffer <= 0 ||
            p->m[j].in->buffer[1] != buffer)
            continue;
        for (int k = 0; k < p->n; k++)
            for (int s = 0; s < p->m[k].in->nsrc; s++) readers += p->m[k].in->buffer[1 + s] == buffer;
        if (readers != 1) continue;
        p->m[i].way = DD_WAY_LATER;
        p->m[j].from = i;
    }
}

/* In blocks: a row that is enlarged and then gated becomes one with its gate, where the gate's result does not lie
 * where the small row is. */
static void pair_gates(dd_row_plan *p)
{
    for (int i = 0; i + 1 < p->n; i++) {
        dd_row_member *pool = &p->m[i], *m = pool + 1;
        const int buffer = pool->in->buffer[0];
        int readers = 0;
        if (pool->way != DD_WAY_POOL || !pool->large || buffer <= 0 || m->way != DD_WAY_AFFINE || !m->gate) continue;
        if (m->op[1].buffer != buffer - 1 || m->op[1].numbers >= 0 || m->op[2].buffer == buffer - 1) continue;
        if (m->in->buffer[0] == pool->in->buffer[1] && m->in->buffer[0] > 0) continue;
        for (int k = i + 1; k < p->n && (k == i + 1 || p->m[k - 1].in->buffer[0] != buffer); k++)
            for (int s = 0; s < p->m[k].in->nsrc; s++) readers += p->m[k].in->buffer[1 + s] == buffer;
        if (readers != 1) continue;
        pool->way = DD_WAY_LATER;
        m->from = i;
    }
}

/* Whether only member i + 1 reads what member i leaves in its buffer. */
static bool read_next_only(const dd_row_plan *p, int i)
{
    const int buffer = p->m[i].in->buffer[0];
    for (int k = i + 1; k < p->n; k++) {
        for (int s = 0; s < p->m[k].in->nsrc; s++)
            if (p->m[k].in->buffer[1 + s] == buffer && k > i + 1) return false;
        if (p->m[k].in->buffer[0] == buffer) break;
    }
    return buffer > 0;
}

/* A pooling whose sums the next member multiplies by one number, as averages are, becomes one with it. */
static void pair_scales(dd_row_plan *p)
{
    for (int i = 0; i + 1 < p->n; i++) {
        dd_row_member *pool = &p->m[i], *m = pool + 1;
        const dd_instr *in = m->in;
        if (pool->way != DD_WAY_POOL || pool->large || m->way != DD_WAY_MAP || in->ew != DD_EW_MUL) continue;
        if (m->width == 1 || m->width != pool->in->dst.dim[pool->in->dst.rank - 1] || !read_next_only(p, i)) continue;
        const int scale = in->buffer[1] == pool->in->buffer[0] ? 2 : 1;
        if (in->buffer[3 - scale] != pool->in->buffer[0] || !dd_row_constant(&m->op[scale])) continue;
        m->way = DD_WAY_POOL;
        m->width = pool->width;
        m->from = pool->from;
        m->pool = i;
        m->scale = scale;
        pool->way = DD_WAY_LATER;
    }
}

/* Two rows that become one whose sum is next: the sum is taken on the way, and where nothing else reads the row it is
 * not stored. Not where the sum lies in a buffer that the member still reads for later blocks. */
static void pair_sums(dd_row_plan *p)
{
    for (int i = 0; i + 1 < p->n; i++) {
        dd_row_member *m = &p->m[i], *fold = m + 1;
        const dd_ew ew = m->in->ew;
        const bool rows = m->way == DD_WAY_MAP && m->nop == 3 && m->width > 1 && m->op[1].inner && m->op[2].inner &&
                          (ew == DD_EW_ADD || ew == DD_EW_SUB || ew == DD_EW_MUL);
        if (!rows && !(m->way == DD_WAY_AFFINE && m->from < 0)) continue;
        if (fold->way != DD_WAY_FOLD || fold->in->kind != DD_K_SUM || fold->width != m->width) continue;
        if (m->op[0].buffer < 0 || fold->op[1].buffer != m->op[0].buffer || fold->op[1].inner == 0) continue;
        bool apart = true;
        for (int k = 0; k < m->nop; k++)
            apart = apart && (fold->op[0].buffer < 0 || fold->op[0].buffer != m->op[k].buffer);
        if (!apart) continue;
        m->sum = i + 1;
        m->kept = !read_next_only(p, i);
        fold->way = DD_WAY_LATER;
    }
}

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Rows of one pass: as many as fit, whole blocks of `lanes`. */
static int64_t rows_of_pass(int64_t len, int64_t lanes)
{
    const int64_t n = BLOCK / len / lanes * lanes;
    return n > lanes ? n : lanes;
}

dd_status dd_cpu_group_prepare(dd_backend *b, dd_instr *in)
{
    const int n = (int)in->attr[2];
    const int64_t len = in->attr[1];
    const dd_dtype t = in->member[0]->dst.dtype;
    int places = 1;
    bool computed = false; /* some member reads rows by way of numbers */
    const dd_rows *f = t == DD_F32 ? &dd_cpu_rows_f32 : &dd_cpu_rows_f64;
    dd_row_plan *p = dd_alloc(1, sizeof *p + (size_t)n * sizeof p->m[0]);
    if (!p) return dd_fail(DD_ENOMEM, "no memory for a row group of %d instructions", n);
    p->base.release = plan_release;
    p->n = n;
    p->outer = in->attr[0];
    p->stripes = in->blocked ? dd_stripes_here() : NULL;
    const int64_t lanes = p->stripes ? p->stripes->lanes : 1;
    p->block = rows_of_pass(len, lanes);
    p->unit = p->block;
    p->size = dd_dtype_size(t);
    p->store = f->affine_store;
    p->buffer = round_up((size_t)(p->block * len) * p->size);
    p->spare_row = round_up((size_t)(len * lanes) * p->size);
    for (int i = 0; i < n; i++) {
        plan_member(p, &p->m[i], in->member[i], f);
        p->m[i].place = places;
        places += p->m[i].way == DD_WAY_NUMBERS || p->m[i].way == DD_WAY_STORE;
        if (p->m[i].way == DD_WAY_BACK) p->unit = dd_row_planes_of(p->m[i].in)->dim[1]; /* whole images */
        computed = computed || p->m[i].way >= DD_WAY_NUMBERS;
    }
    p->numbers = computed ? round_up((size_t)p->block * DD_NUMBERS * sizeof(double)) : 0;
    pair_pools(p);
    if (p->stripes) {
        pair_scales(p);
        pair_gates(p);
        pair_sums(p);
    }
    p->first_numbers = p->buffer * (size_t)in->attr[3];
    p->spare = p->first_numbers + p->numbers * (size_t)places;
    p->thread = p->spare + DD_ROW_SPARE * p->spare_row;
    for (int i = 0; i < n; i++) {
        if (!convolves(&p->m[i])) continue;
        p->m[i].image = p->thread;
        p->thread += round_up(sizeof(dd_row_image) + (size_t)dd_cpu_conv_few_buffer(in->member[i]) * sizeof(float));
    }
    in->scratch = p->thread * (size_t)b->threads;
    in->state = p;
    in->launch = launch;
    return DD_OK;
}

/* ---- rows in blocks ---- */

/* A number for each row, or whole rows one behind the other. */
static bool suits(const dd_instr *in, int k)
{
    const dd_view *v = k ? &in->src[k - 1] : &in->dst;
    const int last = v->rank - 1;
    const bool pool = in->kind == DD_K_SUMPOOL || in->kind == DD_K_SUMPOOL_T;
    if (!pool && (v->dim[last] == 1 || v->stride[last] == 0)) return true;
    return (v->stride[last] == 1 || v->dim[last] == 1) && (in->buffer[k] != 0 || dd_view_contiguous(v));
}

bool dd_cpu_group_may_block(const dd_instr *in)
{
    const int64_t lanes = dd_cpu_lanes();
    if (!dd_stripes_here() || in->attr[0] % lanes || in->attr[1] * lanes > MOST_BLOCKED) return false;
    for (int64_t i = 0; i < in->attr[2]; i++) {
        const dd_instr *m = in->member[i];
        if (m->dst.dtype != DD_F32) return false;
        if (dd_row_planes_of(m)) {
            if (!dd_cpu_conv_few_may_block(m)) return false;
            continue;
        }
        for (int k = 0; k <= m->nsrc; k++)
            if (!suits(m, k)) return false;
    }
    return true;
}

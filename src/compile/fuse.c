/* SPDX-License-Identifier: Apache-2.0
 *
 * Row groups. Pointwise steps, reductions over trailing axes and 2x2 pooling that see the same rows (the pixels of a
 * channel, the classes of a logit) become one instruction that takes a block of rows through all of them while it is in
 * cache. Values that no step outside reads lose their memory. Three passes:
 *   1. grow: a group stands where its first step stood; a later step joins if nothing it jumps over writes what it
 *      reads;
 *   2. recompute: a group that reads whole rows which an earlier group computed pointwise computes them again from
 *      what that one read, where this loads no more (the normalised activation from the convolution's output);
 *   3. emit: buffers for what stays inside, and the new list. A row with one number per row added, multiplied and so on
 *      (normalising, scale and shift) gets no buffer: its readers compute it from the row and the numbers.
 * Knows the instruction format and base. */
#include "compile/passes.h"

#include <string.h>

enum { MOST = 64, FEWEST_ROWS = 16, LONGEST_ROW = 16384, WIDE_READS = 16 };

/* Steps with the views of as_rows, in the order they run. */
typedef struct group {
    int64_t outer, longest; /* rows; elements of the longest */
    size_t first;           /* step where it stands */
    size_t n;
    dd_command k[MOST];
} group;

typedef struct fuser {
    dd_compiled *c;
    group **group; /* [ngroup], in the order of `first` */
    size_t ngroup, group_cap;
    size_t *of;      /* [nstep] 1 + group; 0: on its own */
    size_t slots;    /* capacity of the arrays by slot: clones add slots */
    size_t *owner;   /* [slots] 1 + group that writes it; 0: none */
    bool *skipped;   /* [slots] touched by a step between the group's first and the one at hand */
    int *reads;      /* [slots] operands, over all steps */
    int *writes;     /* [slots] */
    int *buffer;     /* [slots] 1 + block buffer; 0: memory; < 0: -(1 + member) whose readers compute it */
    dd_command *out; /* [nout] the new list */
    size_t nout, out_cap;
} fuser;

static dd_status no_memory(const fuser *f)
{
    return dd_fail(DD_ENOMEM, "out of memory while joining %zu instructions", f->c->nstep);
}

/* ---- one step seen as rows ---- */

static bool is_reduction(const dd_command *k)
{
    return k->in.kind == DD_K_SUM || k->in.kind == DD_K_SUMMUL || k->in.kind == DD_K_MAXR;
}

/* Pooling by 2x2 windows that do not overlap, one plane a row. */
static bool is_pool(const dd_command *k)
{
    static const int64_t halving[6] = {2, 2, 2, 2, 0, 0};
    if (k->in.kind != DD_K_SUMPOOL && k->in.kind != DD_K_SUMPOOL_T) return false;
    return k->in.dst.dtype == DD_F32 && k->in.dst.rank == 4 && memcmp(k->in.attr, halving, sizeof halving) == 0;
}

/* A tensor bound as an output may be an input's as well, so its writer stays where it is. */
static bool candidate(const dd_compiled *c, const dd_command *k)
{
    const dd_dtype t = k->in.dst.dtype;
    if (k->in.kind != DD_K_POINTWISE && !is_reduction(k) && !is_pool(k)) return false;
    if ((t != DD_F32 && t != DD_F64) || c->slot[k->out.slot].kind != DD_SLOT_ARENA) return false;
    for (int i = 0; i < k->in.nsrc; i++)
        if (k->in.src[i].dtype != t) return false;
    return dd_view_contiguous(&k->in.dst);
}

/* Makes the trailing `len` elements of v one last axis; false where axes or strides do not allow it. */
static bool split_rows(dd_view *v, int64_t len)
{
    int64_t left = len;
    int i = v->rank;
    while (left > 1 && i > 0 && left % v->dim[i - 1] == 0) left /= v->dim[--i];
    if (left > 1) { /* the row begins within axis i - 1 */
        if (i == 0 || v->dim[i - 1] % left || v->rank == DD_MAX_RANK) return false;
        for (int j = v->rank; j > i; j--) {
            v->dim[j] = v->dim[j - 1];
            v->stride[j] = v->stride[j - 1];
        }
        v->rank++;
        v->dim[i] = left;
        v->stride[i] = v->stride[i - 1];
        v->stride[i - 1] *= left;
        v->dim[i - 1] /= left;
    }
    int64_t step = 0, count = 1;
    for (int j = v->rank - 1; j >= i; j--) {
        if (v->dim[j] == 1) continue;
        if (count == 1) step = v->stride[j];
        if (v->stride[j] != step * count) return false;
        count *= v->dim[j];
    }
    if (i == DD_MAX_RANK) return false;
    v->rank = i + 1;
    v->dim[i] = len;
    v->stride[i] = step;
    return true;
}

/* Exactly the trailing axes are reduced: every axis before the row is kept. */
static bool fold_rows(const dd_command *k, int64_t outer, dd_command *out)
{
    int64_t kept = 1, s = 1;
    for (int i = 0; i < k->in.dst.rank && k->in.dst.dim[i] == k->in.src[0].dim[i]; i++) kept *= k->in.dst.dim[i];
    dd_view *y = &out->in.dst;
    *y = out->in.src[0];
    y->dim[y->rank - 1] = 1;
    for (int i = y->rank - 1; i >= 0; i--) {
        y->stride[i] = s;
        s *= y->dim[i];
    }
    return kept == outer && s == outer && dd_view_count(&k->in.dst) == outer;
}

/* attr becomes height and width of the large and of the small plane. */
static bool pool_rows(const dd_command *k, int64_t outer, dd_command *out)
{
    const bool t = k->in.kind == DD_K_SUMPOOL_T;
    const dd_view *big = t ? &k->in.dst : &k->in.src[0], *small = t ? &k->in.src[0] : &k->in.dst;
    const int64_t plane[4] = {big->dim[2], big->dim[3], small->dim[2], small->dim[3]};
    if (big->dim[0] * big->dim[1] != outer) return false;
    memcpy(out->in.attr, plane, sizeof plane);
    return split_rows(&out->in.src[0], dd_view_count(&k->in.src[0]) / outer) &&
           split_rows(&out->in.dst, dd_view_count(&k->in.dst) / outer);
}

/* The views of k with `outer` rows, the row as their last axis; *longest grows to the longest of them. */
static bool as_rows(const dd_command *k, int64_t outer, int64_t *longest, dd_command *out)
{
    const int64_t most = dd_view_count(is_reduction(k) || k->in.kind == DD_K_SUMPOOL ? &k->in.src[0] : &k->in.dst);
    const int64_t width = most / outer;
    *out = *k;
    if (width < 1 || width > LONGEST_ROW || width * outer != most) return false;
    if (width > *longest) *longest = width;
    if (is_pool(k)) return pool_rows(k, outer, out);
    for (int i = 0; i < k->in.nsrc; i++)
        if (!split_rows(&out->in.src[i], width)) return false;
    return is_reduction(k) ? fold_rows(k, outer, out) : split_rows(&out->in.dst, width);
}

static int64_t width_of(const dd_view *rows)
{
    return rows->dim[rows->rank - 1];
}

/* Does v read row r of a value where row r was written, `width` elements each? */
static bool aligned(const dd_view *v, int64_t width)
{
    const int last = v->rank - 1;
    dd_view rows = *v;
    if (width > 1) return v->dim[last] == width && dd_view_contiguous(v);
    if (v->dim[last] != 1 && v->stride[last] != 0) return false;
    rows.rank = last;
    return dd_view_contiguous(&rows);
}

/* ---- growing ---- */

static const dd_command *writer(const group *g, int slot)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->k[i].out.slot == slot) return &g->k[i];
    return NULL;
}

/* k with its rows if it may join. */
static bool joins(const fuser *f, group *g, const dd_command *k, dd_command *rows)
{
    int64_t longest = g->longest;
    if (g->n == MOST || !candidate(f->c, k) || k->in.dst.dtype != g->k[0].in.dst.dtype) return false;
    if (f->skipped[k->out.slot] || writer(g, k->out.slot) || !as_rows(k, g->outer, &longest, rows)) return false;
    for (int i = 0; i < k->in.nsrc; i++) {
        const dd_command *w = writer(g, k->src[i].slot);
        if (f->skipped[k->src[i].slot]) return false;
        if (w && (k->src[i].offset != w->out.offset || !aligned(&rows->in.src[i], width_of(&w->in.dst)))) return false;
    }
    g->longest = longest;
    return true;
}

/* A library call: nothing is worth carrying past it. */
static bool heavy(const dd_command *k)
{
    switch (k->in.kind) {
    case DD_K_CONV:
    case DD_K_CONV_DX:
    case DD_K_CONV_DW:
    case DD_K_MATMUL:
    case DD_K_FACTOR: return true;
    default: return false;
    }
}

/* Slots written piece by piece count as touched by their readers too: the pieces stay in order. */
static void skip(fuser *f, const dd_command *k, bool on)
{
    f->skipped[k->out.slot] = on;
    for (int i = 0; i < k->in.nsrc; i++)
        if (f->writes[k->src[i].slot] > 1) f->skipped[k->src[i].slot] = on;
}

static void add(fuser *f, group *g, const dd_command *rows, size_t step)
{
    g->k[g->n++] = *rows;
    f->of[step] = f->ngroup + 1;
}

static void grow(fuser *f, group *g)
{
    const dd_compiled *c = f->c;
    size_t j = g->first + 1;
    dd_command rows;
    for (; j < c->nstep && !heavy(&c->step[j]); j++) {
        if (f->of[j]) continue;
        if (joins(f, g, &c->step[j], &rows))
            add(f, g, &rows, j);
        else
            skip(f, &c->step[j], true);
    }
    for (size_t i = g->first + 1; i < j; i++) skip(f, &c->step[i], false);
}

/* The number of rows of a step by its own looks; 0: a flat one, which has any. */
static int64_t own_rows(const dd_command *k)
{
    const dd_view *v = &k->in.dst;
    if (is_reduction(k)) return dd_view_count(v);
    if (is_pool(k)) return v->dim[0] * v->dim[1];
    return v->rank < 2 ? 0 : dd_view_count(v) / v->dim[v->rank - 1];
}

static bool reads(const dd_command *k, int slot)
{
    for (int i = 0; i < k->in.nsrc; i++)
        if (k->src[i].slot == slot) return true;
    return false;
}

/* A flat step takes the rows of its first reader that has some of its own, or that of its first flat reader; if there
 * is none, its elements. */
static int64_t find_rows(const fuser *f, size_t at)
{
    const dd_compiled *c = f->c;
    const int64_t count = dd_view_count(&c->step[at].in.dst), own = own_rows(&c->step[at]);
    if (own) return own;
    size_t flat = 0;
    for (size_t j = at + 1; j < c->nstep && !heavy(&c->step[j]); j++) {
        if (!reads(&c->step[j], c->step[at].out.slot) || !candidate(c, &c->step[j])) continue;
        const int64_t rows = own_rows(&c->step[j]);
        if (rows && count % rows == 0) return rows;
        if (!rows && !flat) flat = j;
    }
    const int64_t rows = flat ? find_rows(f, flat) : count;
    return rows && count % rows == 0 ? rows : count;
}

static dd_status keep(fuser *f, group *g)
{
    for (size_t i = 0; i < g->n; i++) f->owner[g->k[i].out.slot] = f->ngroup + 1;
    if (dd_grow((void **)&f->group, &f->group_cap, f->ngroup + 1, sizeof *f->group) != DD_OK) return no_memory(f);
    f->group[f->ngroup++] = g;
    return DD_OK;
}

static dd_status form_groups(fuser *f)
{
    for (size_t i = 0; i < f->c->nstep; i++) {
        const dd_command *k = &f->c->step[i];
        dd_command rows;
        int64_t longest = 1;
        if (f->of[i] || !candidate(f->c, k) || dd_view_count(&k->in.dst) == 0) continue;
        const int64_t outer = find_rows(f, i);
        if (outer < FEWEST_ROWS || !as_rows(k, outer, &longest, &rows)) continue;
        group *g = dd_alloc(1, sizeof *g);
        if (!g) return no_memory(f);
        g->outer = outer;
        g->longest = longest;
        g->first = i;
        add(f, g, &rows, i);
        grow(f, g);
        const dd_status status = g->n > 1 ? keep(f, g) : DD_OK;
        if (g->n > 1 && status == DD_OK) continue;
        f->of[i] = 0;
        dd_free(g);
        DD_TRY(status);
    }
    return DD_OK;
}

/* ---- recomputing ---- */

/* What a group would compute again: slots, sources before readers. */
typedef struct rerun {
    const dd_command *from[MOST];
    size_t n;
    int leaf[WIDE_READS]; /* whole rows it must read */
    size_t nleaf;
    bool failed;
} rerun;

/* The pointwise step of whole rows in an earlier group of as many rows that wrote `slot`; NULL: none. */
static const dd_command *earlier(const fuser *f, const group *g, int slot)
{
    const size_t own = f->owner[slot];
    if (!own || f->group[own - 1] == g || f->group[own - 1]->outer != g->outer) return NULL;
    const dd_command *w = writer(f->group[own - 1], slot);
    const bool whole = f->writes[slot] == 1 && w->out.offset == 0;
    return w->in.kind == DD_K_POINTWISE && width_of(&w->in.dst) > 1 && whole ? w : NULL;
}

/* All who read `slot` are in groups of as many rows, so that nobody needs it in memory. */
static bool avoidable(const fuser *f, int slot)
{
    const group *home = f->group[f->owner[slot] - 1];
    for (size_t i = 0; i < f->c->nstep; i++)
        for (int j = 0; j < f->c->step[i].in.nsrc; j++)
            if (f->c->step[i].src[j].slot == slot && (!f->of[i] || f->group[f->of[i] - 1]->outer != home->outer))
                return false;
    return true;
}

/* An input may be bound to the tensor of an output, which steps before the group may have written. */
static bool still_there(const fuser *f, const group *g, int slot)
{
    const dd_slot *s = &f->c->slot[slot];
    if (s->kind != DD_SLOT_INPUT) return s->kind != DD_SLOT_OUTPUT;
    for (size_t i = 0; i < g->first; i++) {
        const dd_slot *y = &f->c->slot[f->c->step[i].out.slot];
        if (y->kind == DD_SLOT_OUTPUT && y->bytes == s->bytes) return false;
    }
    return true;
}

static bool among(const int *list, size_t n, int x)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == x) return true;
    return false;
}

static void plan_rerun(const fuser *f, const group *g, int slot, rerun *r)
{
    const dd_command *w = earlier(f, g, slot);
    for (size_t i = 0; i < r->n; i++)
        if (r->from[i]->out.slot == slot) return;
    for (int j = 0; j < w->in.nsrc && !r->failed; j++) {
        const int s = w->src[j].slot;
        const bool wide = aligned(&w->in.src[j], width_of(&w->in.dst));
        if (wide && earlier(f, g, s)) {
            plan_rerun(f, g, s, r);
        } else if (!still_there(f, g, s)) {
            r->failed = true;
        } else if (wide && !among(r->leaf, r->nleaf, s)) {
            if (r->nleaf == WIDE_READS)
                r->failed = true;
            else
                r->leaf[r->nleaf++] = s;
        }
    }
    if (r->n + g->n >= MOST) r->failed = true;
    if (!r->failed) r->from[r->n++] = w;
}

/* A copy of step w that writes a slot of its own. */
static dd_status clone(fuser *f, size_t self, const dd_command *w, dd_command *out)
{
    dd_compiled *c = f->c;
    if (dd_grow((void **)&c->slot, &c->slot_cap, c->nslot + 1, sizeof *c->slot) != DD_OK) return no_memory(f);
    *out = *w;
    out->out = (dd_place){(int)c->nslot, 0};
    c->slot[c->nslot] = c->slot[w->out.slot];
    f->owner[c->nslot] = self;
    f->writes[c->nslot] = 1;
    c->nslot++;
    return DD_OK;
}

static void redirect(fuser *f, dd_command *k, int from, int to)
{
    for (int j = 0; j < k->in.nsrc; j++) {
        if (k->src[j].slot != from) continue;
        k->src[j] = (dd_place){to, 0};
        f->reads[from]--;
        f->reads[to]++;
    }
}

static dd_status apply_rerun(fuser *f, group *g, size_t self, const rerun *r)
{
    dd_command made[MOST];
    for (size_t i = 0; i < r->n; i++) {
        DD_TRY(clone(f, self, r->from[i], &made[i]));
        for (int j = 0; j < made[i].in.nsrc; j++) f->reads[made[i].src[j].slot]++;
        for (size_t b = 0; b < i; b++) redirect(f, &made[i], r->from[b]->out.slot, made[b].out.slot);
    }
    for (size_t i = 0; i < r->n; i++)
        for (size_t m = 0; m < g->n; m++) redirect(f, &g->k[m], r->from[i]->out.slot, made[i].out.slot);
    memmove(&g->k[r->n], &g->k[0], g->n * sizeof g->k[0]);
    memcpy(&g->k[0], made, r->n * sizeof made[0]);
    g->n += r->n;
    for (size_t i = 0; i < r->n; i++)
        if (width_of(&made[i].in.dst) > g->longest) g->longest = width_of(&made[i].in.dst);
    return DD_OK;
}

/* Does the group read `slot` only where its rows were written? */
static bool reads_rows(const group *g, int slot, int64_t width)
{
    for (size_t i = 0; i < g->n; i++)
        for (int j = 0; j < g->k[i].in.nsrc; j++)
            if (g->k[i].src[j].slot == slot && (g->k[i].src[j].offset != 0 || !aligned(&g->k[i].in.src[j], width)))
                return false;
    return true;
}

/* Whole rows that the group reads of earlier ones and nobody would need in memory. */
static size_t avoidable_reads(const fuser *f, const group *g, int *list)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        for (int j = 0; j < g->k[i].in.nsrc; j++) {
            const int s = g->k[i].src[j].slot;
            const dd_command *w = n < WIDE_READS && !among(list, n, s) ? earlier(f, g, s) : NULL;
            if (w && reads_rows(g, s, width_of(&w->in.dst)) && avoidable(f, s)) list[n++] = s;
        }
    return n;
}

static dd_status recompute(fuser *f, size_t self)
{
    group *g = f->group[self - 1];
    int want[WIDE_READS];
    size_t loads = 0;
    rerun r = {.n = 0};
    const size_t n = avoidable_reads(f, g, want);
    for (size_t i = 0; i < n && !r.failed; i++) plan_rerun(f, g, want[i], &r);
    for (size_t i = 0; i < r.nleaf; i++) {
        bool read = false;
        for (size_t m = 0; m < g->n; m++)
            for (int j = 0; j < g->k[m].in.nsrc; j++) read = read || g->k[m].src[j].slot == r.leaf[i];
        loads += !read;
    }
    for (size_t i = 0; i < r.n; i++) /* what lies on the way may be read flipped or shifted, too */
        if (!reads_rows(g, r.from[i]->out.slot, width_of(&r.from[i]->in.dst))) return DD_OK;
    if (n == 0 || r.failed || loads > n || f->c->nslot + r.n > f->slots) return DD_OK;
    return apply_rerun(f, g, self, &r);
}

/* ---- what stays inside ---- */

static int reads_within(const group *g, int slot, size_t *last)
{
    int n = 0;
    for (size_t i = 0; i < g->n; i++)
        for (int j = 0; j < g->k[i].in.nsrc; j++) {
            if (g->k[i].src[j].slot != slot) continue;
            n++;
            *last = i;
        }
    return n;
}

/* Only members read what k writes. */
static bool inside(const fuser *f, const group *g, const dd_command *k, size_t *last)
{
    const size_t bytes = (size_t)dd_view_count(&k->in.dst) * dd_dtype_size(k->in.dst.dtype);
    const bool whole = f->writes[k->out.slot] == 1 && f->c->slot[k->out.slot].bytes == bytes;
    return reads_within(g, k->out.slot, last) == f->reads[k->out.slot] && whole;
}

static bool full_row(const dd_view *v, int64_t width)
{
    return width > 1 && v->dim[v->rank - 1] == width && v->stride[v->rank - 1] == 1;
}

/* ADD, SUB or MUL of two rows. */
static bool two_rows(const dd_command *k)
{
    const int64_t width = width_of(&k->in.dst);
    const bool op = k->in.ew == DD_EW_ADD || k->in.ew == DD_EW_SUB || k->in.ew == DD_EW_MUL;
    return k->in.kind == DD_K_POINTWISE && op && full_row(&k->in.src[0], width) && full_row(&k->in.src[1], width);
}

/* The operand that is a row where the other, if there is one, is a number per row; -1: k is not of that form. */
static int affine_operand(const dd_command *k)
{
    const int64_t width = width_of(&k->in.dst);
    const dd_view *x = k->in.src;
    if (k->in.kind != DD_K_POINTWISE || !full_row(&k->in.dst, width)) return -1;
    if (k->in.ew == DD_EW_NEG) return full_row(&x[0], width) ? 0 : -1;
    if (k->in.ew != DD_EW_ADD && k->in.ew != DD_EW_SUB && k->in.ew != DD_EW_MUL && k->in.ew != DD_EW_DIV) return -1;
    for (int j = 0; j < 2; j++)
        if (full_row(&x[j], width) && x[1 - j].stride[x[1 - j].rank - 1] == 0)
            return k->in.ew == DD_EW_DIV && j == 1 ? -1 : j;
    return -1;
}

/* May reader r compute what it reads from `slot` itself? `step`: the value is the STEP of a row. */
static bool computes(const fuser *f, const group *g, const dd_command *r, int slot, bool step)
{
    const bool twice = r->in.nsrc > 1 && r->src[0].slot == r->src[1].slot;
    if (step) {
        const dd_command *other = two_rows(r) ? writer(g, r->src[r->src[0].slot == slot].slot) : NULL;
        return two_rows(r) && r->in.ew == DD_EW_MUL && !twice &&
               !(other && f->buffer[other->out.slot] < 0 && other->in.ew == DD_EW_STEP);
    }
    if (r->in.kind == DD_K_SUM || r->in.kind == DD_K_SUMMUL) {
        for (int j = 0; j < r->in.nsrc; j++)
            if (!full_row(&r->in.src[j], width_of(&r->in.src[0]))) return false;
        return true;
    }
    const int wide = affine_operand(r);
    const bool gate = r->in.kind == DD_K_POINTWISE && r->in.ew == DD_EW_STEP && f->buffer[r->out.slot] < 0;
    return gate || two_rows(r) || (wide >= 0 && r->src[wide].slot == slot);
}

/* Marks the values that their readers compute, from the last member to the first since a STEP's reader decides whether
 * the row before it may go. */
static void spare(fuser *f, const group *g)
{
    for (size_t i = g->n; i-- > 0;) {
        const dd_command *k = &g->k[i];
        const bool step = k->in.kind == DD_K_POINTWISE && k->in.ew == DD_EW_STEP;
        size_t last = i;
        bool good = step ? full_row(&k->in.src[0], width_of(&k->in.dst)) : affine_operand(k) >= 0;
        if (!good || !inside(f, g, k, &last) || last == i) continue;
        for (size_t m = 0; m < g->n && good; m++)
            for (int j = 0; j < g->k[m].in.nsrc; j++)
                good = good && (g->k[m].src[j].slot != k->out.slot || computes(f, g, &g->k[m], k->out.slot, step));
        if (good) f->buffer[k->out.slot] = -(int)(1 + i);
    }
}

/* The last member that needs what member i writes, by way of readers that compute it in their readers, too. */
static void find_last(const fuser *f, const group *g, size_t *last)
{
    for (size_t i = g->n; i-- > 0;) {
        last[i] = i;
        for (size_t m = i + 1; m < g->n; m++)
            for (int j = 0; j < g->k[m].in.nsrc; j++) {
                if (g->k[m].src[j].slot != g->k[i].out.slot) continue;
                const size_t need = f->buffer[g->k[m].out.slot] < 0 ? last[m] : m;
                if (need > last[i]) last[i] = need;
            }
    }
}

/* Gives buffers to the values that only members read. A buffer whose value dies at a pointwise step takes the result of
 * that step if both have the same rows. Returns the number of buffers. */
static int assign_buffers(fuser *f, const group *g)
{
    size_t until[MOST], last[MOST]; /* until: last member that needs the buffer */
    int n = 0;
    spare(f, g);
    find_last(f, g, last);
    for (size_t i = 0; i < g->n; i++) {
        const dd_command *k = &g->k[i];
        size_t unused = i;
        if (f->buffer[k->out.slot] < 0 || !inside(f, g, k, &unused)) continue;
        int at = n;
        for (int b = n - 1; b >= 0; b--)
            if (until[b] < i) at = b;
        for (int j = 0; j < k->in.nsrc; j++) {
            const int b = f->buffer[k->src[j].slot] - 1;
            const bool same = k->in.kind == DD_K_POINTWISE && dd_view_same(&k->in.dst, &k->in.src[j]);
            if (b >= 0 && until[b] == i && same) at = b;
        }
        if (at == n) n++;
        until[at] = last[i];
        f->buffer[k->out.slot] = 1 + at;
    }
    return n;
}

/* ---- the new list ---- */

static dd_status push(fuser *f, const dd_command *k)
{
    if (dd_grow((void **)&f->out, &f->out_cap, f->nout + 1, sizeof *f->out) != DD_OK) return no_memory(f);
    f->out[f->nout++] = *k;
    return DD_OK;
}

static dd_status push_group(fuser *f, group *g)
{
    const size_t at = f->nout;
    dd_command head = {.out = g->k[0].out};
    head.in = (dd_instr){
        .kind = DD_K_ROWS, .dst = g->k[0].in.dst, .attr = {g->outer, g->longest, (int64_t)g->n, assign_buffers(f, g)}};
    DD_TRY(push(f, &head));
    for (size_t i = 0; i < g->n; i++) {
        dd_command *k = &g->k[i];
        k->group = at + 1;
        k->in.buffer[0] = f->buffer[k->out.slot];
        for (int j = 0; j < k->in.nsrc; j++) k->in.buffer[1 + j] = f->buffer[k->src[j].slot];
        DD_TRY(push(f, k));
    }
    for (size_t i = 0; i < g->n; i++) {
        dd_slot *s = &f->c->slot[g->k[i].out.slot];
        if (!f->buffer[g->k[i].out.slot]) continue;
        s->kind = DD_SLOT_BLOCK;
        s->bytes = 0;
    }
    return DD_OK;
}

static dd_status emit_all(fuser *f)
{
    dd_compiled *c = f->c;
    for (size_t i = 0; i < c->nstep; i++) {
        if (!f->of[i])
            DD_TRY(push(f, &c->step[i]));
        else if (f->group[f->of[i] - 1]->first == i)
            DD_TRY(push_group(f, f->group[f->of[i] - 1]));
    }
    dd_free(c->step);
    c->step = f->out;
    c->nstep = f->nout;
    c->step_cap = f->out_cap;
    f->out = NULL;
    return DD_OK;
}

static dd_status fuse_all(fuser *f)
{
    const dd_compiled *c = f->c;
    for (size_t i = 0; i < c->nstep; i++) {
        f->writes[c->step[i].out.slot]++;
        for (int j = 0; j < c->step[i].in.nsrc; j++) f->reads[c->step[i].src[j].slot]++;
    }
    DD_TRY(form_groups(f));
    for (size_t i = 1; i <= f->ngroup; i++) DD_TRY(recompute(f, i));
    return emit_all(f);
}

dd_status dd_fuse_rows(dd_compiled *c)
{
    fuser f = {.c = c, .slots = c->nslot + 2 * c->nstep + 1};
    f.of = dd_alloc(c->nstep + 1, sizeof *f.of);
    f.owner = dd_alloc(f.slots, sizeof *f.owner);
    f.skipped = dd_alloc(f.slots, sizeof *f.skipped);
    f.reads = dd_alloc(f.slots, sizeof *f.reads);
    f.writes = dd_alloc(f.slots, sizeof *f.writes);
    f.buffer = dd_alloc(f.slots, sizeof *f.buffer);
    const bool ok = f.of && f.owner && f.skipped && f.reads && f.writes && f.buffer;
    const dd_status status = ok ? fuse_all(&f) : no_memory(&f);
    for (size_t i = 0; i < f.ngroup; i++) dd_free(f.group[i]);
    dd_free(f.group);
    dd_free(f.of);
    dd_free(f.owner);
    dd_free(f.skipped);
    dd_free(f.reads);
    dd_free(f.writes);
    dd_free(f.buffer);
    dd_free(f.out);
    return status;
}

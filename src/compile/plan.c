/* SPDX-License-Identifier: Apache-2.0
 *
 * Where slots lie. A pointwise result takes over the slot of an operand that dies there; then slots, largest first, go
 * into the smallest gap left by those alive at the same time. The members of a row group run together, block by block,
 * so what one of them touches is alive from the first to the last. Knows the instruction format and base. */
#include "compile/passes.h"

#include <stdlib.h>

typedef struct range {
    int slot;
    long first, last; /* instructions; -1: never */
    size_t bytes;
} range;

enum { ALIGN = 64 };

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void touch(range *r, long at)
{
    if (r->first < 0) r->first = at;
    r->last = at;
}

static void find_ranges(const dd_compiled *c, range *r)
{
    for (size_t i = 0; i < c->nslot; i++) r[i] = (range){(int)i, -1, -1, aligned(c->slot[i].bytes)};
    for (size_t t = 0; t < c->nstep; t++) {
        const dd_command *k = &c->step[t];
        if (k->in.kind == DD_K_ROWS) continue; /* its members follow */
        touch(&r[k->out.slot], (long)t);
        for (int j = 0; j < k->in.nsrc; j++) touch(&r[k->src[j].slot], (long)t);
    }
}

/* Does `k` read slot s only element for element with its target? In a row group source and target may differ in layout
 * or precision: a pass takes whole blocks of rows, which cover the same bytes in either, and copies what it has to
 * convert before it writes. */
static bool in_place(const dd_command *k, int s)
{
    for (int j = 0; j < k->in.nsrc; j++) {
        if (k->src[j].slot != s) continue;
        if (k->src[j].offset != 0 || !dd_view_same(&k->in.src[j], &k->in.dst)) return false;
    }
    return true;
}

/* The other members of k's row group read s row for row, so that block after block may be overwritten; none of them is
 * a convolution, which reads whole images for later blocks, or computed by its readers only, which may come after k. */
static bool group_allows(const dd_compiled *c, const dd_command *k, int s)
{
    if (!k->group) return true;
    const size_t head = k->group - 1;
    for (size_t i = head + 1; i <= head + (size_t)c->step[head].in.attr[2]; i++) {
        const dd_command *m = &c->step[i];
        for (int j = 0; j < m->in.nsrc; j++)
            if (m->src[j].slot == s &&
                (dd_is_conv(m->in.kind) || m->in.buffer[0] < 0 || m->src[j].offset != 0 ||
                 !dd_view_contiguous(&m->in.src[j]) || dd_view_count(&m->in.src[j]) != dd_view_count(&k->in.dst)))
                return false;
    }
    return true;
}

static void stretch_over_groups(const dd_compiled *c, range *r)
{
    for (size_t t = 0; t < c->nstep; t++) {
        const dd_command *k = &c->step[t];
        if (!k->group) continue;
        const long first = (long)k->group - 1, last = first + (long)c->step[first].in.attr[2];
        for (int j = -1; j < k->in.nsrc; j++) {
            range *x = &r[j < 0 ? k->out.slot : k->src[j].slot];
            if (x->first > first) x->first = first;
            if (x->last < last) x->last = last;
        }
    }
}

static void rename_slot(dd_compiled *c, long first, int from, int to)
{
    for (size_t t = (size_t)first; t < c->nstep; t++) {
        dd_command *k = &c->step[t];
        if (k->out.slot == from) k->out.slot = to;
        for (int j = 0; j < k->in.nsrc; j++)
            if (k->src[j].slot == from) k->src[j].slot = to;
    }
}

static void reuse_operand(dd_compiled *c, range *r, long t)
{
    dd_command *k = &c->step[t];
    const int d = k->out.slot;
    const size_t each = dd_dtype_size(k->in.dst.dtype) / (k->in.half & 1 ? 2 : 1);
    const bool whole = k->out.offset == 0 && dd_view_contiguous(&k->in.dst) &&
                       (size_t)dd_view_count(&k->in.dst) * each == c->slot[d].bytes;
    if (k->in.kind != DD_K_POINTWISE || c->slot[d].kind != DD_SLOT_ARENA || r[d].first != t || !whole) return;
    for (int j = 0; j < k->in.nsrc; j++) {
        const int s = k->src[j].slot;
        if (c->slot[s].kind != DD_SLOT_ARENA || r[s].last != t || c->slot[s].bytes != c->slot[d].bytes) continue;
        if (s == d || !in_place(k, s) || !group_allows(c, k, s)) continue;
        const long last = r[d].last;
        rename_slot(c, t, d, s);
        r[s].last = last;
        r[d] = (range){d, -1, -1, 0};
        c->slot[d].bytes = 0;
        return;
    }
}

static int larger_first(const void *a, const void *b)
{
    const range *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Offset of the smallest gap that fits r among the n placed ranges, which are sorted by offset. */
static size_t best_gap(const dd_compiled *c, const range *placed, size_t n, const range *r)
{
    size_t end = 0, best = SIZE_MAX, best_room = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        const range *p = &placed[i];
        if (p->last < r->first || p->first > r->last) continue;
        const size_t at = c->slot[p->slot].offset;
        if (at >= end && at - end >= r->bytes && at - end < best_room) {
            best = end;
            best_room = at - end;
        }
        if (at + p->bytes > end) end = at + p->bytes;
    }
    return best == SIZE_MAX ? end : best;
}

static void insert(const dd_compiled *c, range *placed, size_t n, range r)
{
    size_t i = n;
    for (; i > 0 && c->slot[placed[i - 1].slot].offset > c->slot[r.slot].offset; i--) placed[i] = placed[i - 1];
    placed[i] = r;
}

static void place_slots(dd_compiled *c, range *r, range *placed)
{
    size_t n = 0;
    qsort(r, c->nslot, sizeof *r, larger_first);
    for (size_t i = 0; i < c->nslot; i++) {
        dd_slot *s = &c->slot[r[i].slot];
        if (s->kind == DD_SLOT_CONST) {
            s->offset = c->consts;
            c->consts += r[i].bytes;
        }
        if (s->kind != DD_SLOT_ARENA || r[i].first < 0) continue;
        s->offset = best_gap(c, placed, n, &r[i]);
        insert(c, placed, n++, r[i]);
        if (s->offset + r[i].bytes > c->arena) c->arena = s->offset + r[i].bytes;
    }
}

dd_status dd_plan(dd_compiled *c, bool reuse)
{
    range *r = dd_alloc(c->nslot + 1, sizeof *r), *placed = dd_alloc(c->nslot + 1, sizeof *placed);
    dd_status status = DD_OK;
    if (!r || !placed) {
        status = dd_fail(DD_ENOMEM, "out of memory while planning %zu buffers", c->nslot);
        goto done;
    }
    for (size_t i = 0; i < c->nslot; i++)
        if (c->slot[i].kind == DD_SLOT_ARENA) c->stats.unplanned += (int64_t)aligned(c->slot[i].bytes);
    find_ranges(c, r);
    for (size_t t = 0; reuse && t < c->nstep; t++) reuse_operand(c, r, (long)t);
    stretch_over_groups(c, r);
    place_slots(c, r, placed);
done:
    dd_free(r);
    dd_free(placed);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tensors lie in blocks: [rows / lanes][elements of a row][lanes], a row being one channel of one image. A tensor
 * does where whoever writes or reads it can, and where that reaches from a convolution to its neighbours: the
 * convolutions need blocks inside, so one that finds and leaves them turns nothing, and row groups then work on as many
 * rows as a vector has lanes. Knows the instruction format and base. */
#include "compile/passes.h"

typedef struct layout {
    dd_compiled *c;
    bool carried;    /* those may be in blocks */
    unsigned *may;   /* [nstep] of the backend; of a member: what its group allows */
    int64_t *row;    /* [nslot] elements of a row; 0: not touched yet, -1: this tensor stays as it is */
    bool *is;        /* [nslot] lies in blocks */
    dd_instr **list; /* members of one group */
} layout;

static int slot_of(const dd_command *k, int operand)
{
    return operand ? k->src[operand - 1].slot : k->out.slot;
}

/* May the slot lie in blocks of rows of n elements? One that nobody else sees may; a carried one by the planes of its
 * shape, which are the same to the program at its other end. */
static bool free_to_lie(const layout *l, int slot, int64_t n)
{
    const dd_slot *s = &l->c->slot[slot];
    if (s->kind == DD_SLOT_ARENA) return true;
    if (!l->carried || !dd_slot_carried(l->c, slot)) return false;
    const dd_shape is = l->c->binding[s->binding].shape;
    return is.rank == 4 && is.dim[2] * is.dim[3] == n;
}

/* Elements of a row as this operand sees it; -1: it cannot be in blocks. */
static int64_t row_of(const layout *l, const dd_command *k, unsigned may, int operand)
{
    const dd_compiled *c = l->c;
    const dd_view *v = operand ? &k->in.src[operand - 1] : &k->in.dst;
    const dd_slot *s = &c->slot[slot_of(k, operand)];
    const int64_t offset = operand ? k->src[operand - 1].offset : k->out.offset;
    const bool whole = v->dtype == DD_F32 && offset == 0 && dd_view_contiguous(v) &&
                       (size_t)dd_view_count(v) * sizeof(float) == s->bytes;
    if (!whole || !(may >> operand & 1)) return -1;
    const int64_t n = dd_is_conv(k->in.kind) ? v->dim[2] * v->dim[3] : v->dim[v->rank - 1];
    return n > 1 && free_to_lie(l, slot_of(k, operand), n) ? n : -1;
}

/* The operands of a member that are its group's rows. */
static unsigned inner(const dd_command *k)
{
    switch (k->in.kind) {
    case DD_K_CONV: return 1;
    case DD_K_CONV_DX: return 2;
    case DD_K_CONV_DW: return 4;
    default: return ~0u;
    }
}

/* What the backend can take; for a group that is all of its members' operands or none. */
static void ask(layout *l, dd_backend *b)
{
    const dd_compiled *c = l->c;
    for (size_t i = 0; i < c->nstep; i++) {
        dd_command *k = &c->step[i];
        if (k->group) continue;
        if (k->in.kind != DD_K_ROWS) {
            l->may[i] = b->may_block(b, &k->in);
            continue;
        }
        const size_t n = (size_t)k->in.attr[2];
        for (size_t m = 0; m < n; m++) l->list[m] = &c->step[i + 1 + m].in;
        k->in.member = l->list;
        l->may[i] = b->may_block(b, &k->in);
        k->in.member = NULL;
        for (size_t m = 0; l->may[i] && m < n; m++) l->may[i + 1 + m] = inner(&c->step[i + 1 + m]);
    }
}

static void rule_out(layout *l)
{
    const dd_compiled *c = l->c;
    for (size_t i = 0; i < c->nstep; i++) {
        const dd_command *k = &c->step[i];
        if (k->in.kind == DD_K_ROWS) continue;
        for (int j = 0; j <= k->in.nsrc; j++) {
            int64_t *row = &l->row[slot_of(k, j)];
            const int64_t here = row_of(l, k, l->may[i], j);
            *row = *row == 0 || *row == here ? here : -1;
        }
    }
}

/* One more tensor in blocks; false if it is already or may not. */
static bool spread(layout *l, int slot)
{
    if (l->is[slot] || l->row[slot] <= 0) return false;
    return l->is[slot] = true;
}

static bool touches_blocks(const layout *l, size_t head)
{
    for (size_t i = head + 1; i <= head + (size_t)l->c->step[head].in.attr[2]; i++)
        for (int j = 0; j <= l->c->step[i].in.nsrc; j++)
            if (l->is[slot_of(&l->c->step[i], j)]) return true;
    return false;
}

/* From the convolutions through the groups, until nothing is added. */
static void choose(layout *l)
{
    const dd_compiled *c = l->c;
    for (size_t i = 0; i < c->nstep; i++)
        for (int j = 0; dd_is_conv(c->step[i].in.kind) && j <= c->step[i].in.nsrc; j++)
            spread(l, slot_of(&c->step[i], j));
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < c->nstep; i++) {
            if (c->step[i].in.kind != DD_K_ROWS || !touches_blocks(l, i)) continue;
            for (size_t m = i + 1; m <= i + (size_t)c->step[i].in.attr[2]; m++)
                for (int j = 0; j <= c->step[m].in.nsrc; j++) more = spread(l, slot_of(&c->step[m], j)) || more;
        }
    }
}

static void mark(layout *l, bool half)
{
    dd_compiled *c = l->c;
    for (size_t i = 0; i < c->nstep; i++) {
        dd_command *k = &c->step[i];
        if (k->in.kind == DD_K_ROWS) {
            k->in.blocked = touches_blocks(l, i);
            continue;
        }
        for (int j = 0; j <= k->in.nsrc; j++)
            if (l->is[slot_of(k, j)]) k->in.blocked |= 1u << j;
        if (half) k->in.half = k->in.blocked;
        if (k->group && dd_is_conv(k->in.kind) && c->step[k->group - 1].in.blocked)
            k->in.blocked |= inner(k); /* in a buffer */
    }
    for (size_t s = 0; s < c->nslot; s++) {
        c->stats.blocked += l->is[s];
        if (l->is[s] && half) c->slot[s].bytes /= 2;
        if (l->is[s] && c->slot[s].binding >= 0) c->binding[c->slot[s].binding].blocked = true;
    }
}

dd_status dd_choose_layout(dd_compiled *c, dd_backend *b, bool carried)
{
    layout l = {.c = c, .carried = carried};
    if (!b->may_block || !b->lanes) return DD_OK;
    l.may = dd_alloc(c->nstep + 1, sizeof *l.may);
    l.row = dd_alloc(c->nslot + 1, sizeof *l.row);
    l.is = dd_alloc(c->nslot + 1, sizeof *l.is);
    l.list = dd_alloc(c->nstep + 1, sizeof *l.list);
    const bool ok = l.may && l.row && l.is && l.list;
    if (ok) {
        ask(&l, b);
        rule_out(&l);
        choose(&l);
        mark(&l, b->half);
    }
    dd_free(l.may);
    dd_free(l.row);
    dd_free(l.is);
    dd_free(l.list);
    return ok ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for the layout of %zu instructions", c->nstep);
}

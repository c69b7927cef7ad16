/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of few channels in row groups, so that the largest tensors of a network, those of its first layer, are
 * never in memory:
 *   - one whose result only row groups read becomes the first member of each of them: its planes are computed a block
 *     of rows at a time and used while they are in cache, again by every group, which is cheaper than reading them;
 *   - the gradient of its weights becomes the last member of the group that alone makes what it reads.
 * Knows the instruction format. */
#include "compile/passes.h"

#include <string.h>

enum { MOST_READERS = 8 };

static void insert(dd_compiled *c, size_t at, const dd_command *k)
{
    for (size_t i = 0; i < c->nstep; i++)
        if (c->step[i].group > at) c->step[i].group++;
    memmove(c->step + at + 1, c->step + at, (c->nstep++ - at) * sizeof *k);
    c->step[at] = *k;
}

static void drop(dd_compiled *c, size_t at)
{
    memmove(c->step + at, c->step + at + 1, (--c->nstep - at) * sizeof *c->step);
    for (size_t i = 0; i < c->nstep; i++)
        if (c->step[i].group > at + 1) c->step[i].group--;
}

static size_t end_of(const dd_compiled *c, size_t head)
{
    return head + 1 + (size_t)c->step[head].in.attr[2];
}

/* What the caller binds to an output may be what it binds to an input of the same size. */
static bool may_be_same(const dd_compiled *c, int input, int output)
{
    const dd_slot *x = &c->slot[input], *y = &c->slot[output];
    return x == y || (x->kind == DD_SLOT_INPUT && y->kind == DD_SLOT_OUTPUT && x->bytes == y->bytes);
}

/* An operand is the tensor of whole planes x, [n,c,h,w] or a row a plane. */
static bool plane_by_plane(const dd_view *v, int64_t offset, const dd_view *x)
{
    const int64_t count = dd_view_count(x), rows = x->dim[0] * x->dim[1];
    return offset == 0 && dd_view_contiguous(v) && dd_view_count(v) == count && v->dim[v->rank - 1] == count / rows;
}

/* ---- the first member ---- */

/* The heads of the groups that read what step j writes, all of it row for row; 0 if anybody else does. */
static int readers(const dd_compiled *c, size_t j, size_t head[MOST_READERS])
{
    const dd_command *conv = &c->step[j];
    int n = 0;
    for (size_t i = 0; i < c->nstep; i++) {
        const dd_command *k = &c->step[i];
        if (i != j && k->out.slot == conv->out.slot) return 0;
        for (int s = 0; s < k->in.nsrc; s++) {
            if (k->src[s].slot != conv->out.slot) continue;
            if (!k->group || i < j || !plane_by_plane(&k->in.src[s], k->src[s].offset, &conv->in.dst)) return 0;
            if (c->step[k->group - 1].in.attr[0] != conv->in.dst.dim[0] * conv->in.dst.dim[1]) return 0;
            if (n && head[n - 1] == k->group - 1) continue;
            if (n == MOST_READERS) return 0;
            head[n++] = k->group - 1;
        }
    }
    return n;
}

/* Whether the convolution may run as late as in the group at `head`: nothing on the way writes what it reads. */
static bool can_wait(const dd_compiled *c, size_t j, size_t head)
{
    const dd_command *conv = &c->step[j];
    for (size_t i = j + 1; i < end_of(c, head); i++) {
        if (c->step[i].in.kind == DD_K_ROWS) continue;
        for (int s = 0; s < conv->in.nsrc; s++)
            if (may_be_same(c, conv->src[s].slot, c->step[i].out.slot)) return false;
    }
    return true;
}

/* The convolution stands behind the head and writes `slot`, a buffer, which the members read in place of what it wrote.
 */
static void join(dd_compiled *c, dd_command conv, size_t head, int slot)
{
    const int from = conv.out.slot, buffer = (int)++c->step[head].in.attr[3];
    conv.group = head + 1;
    conv.in.buffer[0] = buffer;
    conv.out = (dd_place){slot, 0};
    insert(c, head + 1, &conv);
    c->step[head].in.attr[2]++;
    c->slot[slot] = (dd_slot){.kind = DD_SLOT_BLOCK};
    for (size_t i = head + 2; i < end_of(c, head); i++) {
        dd_command *k = &c->step[i];
        for (int s = -1; s < k->in.nsrc; s++)
            if (k->in.buffer[1 + s] < 0) --k->in.buffer[1 + s]; /* members are named by their place */
        for (int s = 0; s < k->in.nsrc; s++) {
            if (k->src[s].slot != from) continue;
            k->src[s].slot = slot;
            k->in.buffer[1 + s] = buffer;
        }
    }
}

static dd_status make_room(dd_compiled *c, int steps)
{
    const size_t more = (size_t)steps;
    if (dd_grow((void **)&c->step, &c->step_cap, c->nstep + more, sizeof *c->step) != DD_OK ||
        dd_grow((void **)&c->slot, &c->slot_cap, c->nslot + more, sizeof *c->slot) != DD_OK)
        return dd_fail(DD_ENOMEM, "out of memory while joining %zu instructions", c->nstep);
    return DD_OK;
}

static dd_status join_readers(dd_compiled *c, size_t j, int n, const size_t *head)
{
    const dd_command conv = c->step[j];
    DD_TRY(make_room(c, n));
    while (n-- > 0) join(c, conv, head[n], n ? (int)c->nslot++ : conv.out.slot);
    drop(c, j);
    return DD_OK;
}

/* ---- the last member ---- */

/* The head of the group whose member alone writes what step j differentiates by, for j and other members alone; 0:
 * there is none, else 1 + head. */
static size_t maker(const dd_compiled *c, size_t j)
{
    const dd_command *weights = &c->step[j];
    const int slot = weights->src[1].slot;
    const dd_view *u = &weights->in.src[1];
    size_t group = 0;
    if (weights->src[0].slot == slot || c->slot[slot].kind != DD_SLOT_ARENA) return 0;
    for (size_t i = 0; i < c->nstep; i++) {
        const dd_command *k = &c->step[i];
        if (k->out.slot != slot || k->in.kind == DD_K_ROWS) continue;
        if (group || !k->group || i > j || !plane_by_plane(&k->in.dst, k->out.offset, u)) return 0;
        group = k->group;
    }
    if (!group || c->step[group - 1].in.attr[0] != u->dim[0] * u->dim[1] || weights->src[1].offset) return 0;
    for (size_t i = 0; i < c->nstep; i++)
        for (int s = 0; i != j && s < c->step[i].in.nsrc; s++)
            if (c->step[i].src[s].slot == slot && c->step[i].group != group) return 0;
    return group;
}

static bool meet(dd_place a, const dd_view *va, dd_place b, const dd_view *vb)
{
    return a.slot == b.slot && a.offset < b.offset + dd_view_count(vb) && b.offset < a.offset + dd_view_count(va);
}

/* Whether step j may run with the group, which writes its result after all else: nothing from there to it writes what
 * it reads or touches what it writes. */
static bool can_hurry(const dd_compiled *c, size_t j, size_t head)
{
    const dd_command *weights = &c->step[j];
    for (size_t i = head + 1; i < j; i++) {
        const dd_command *k = &c->step[i];
        if (k->in.kind == DD_K_ROWS) continue;
        if (k->out.slot == weights->src[0].slot) return false;
        if (meet(k->out, &k->in.dst, weights->out, &weights->in.dst)) return false;
        for (int s = 0; s < k->in.nsrc; s++)
            if (k->src[s].slot == weights->out.slot ||
                (i >= end_of(c, head) && may_be_same(c, k->src[s].slot, weights->out.slot)))
                return false;
    }
    return true;
}

static void join_maker(dd_compiled *c, size_t j, size_t head)
{
    dd_command weights = c->step[j];
    const size_t end = end_of(c, head);
    const int slot = weights.src[1].slot, buffer = (int)++c->step[head].in.attr[3];
    drop(c, j);
    weights.group = head + 1;
    insert(c, end, &weights);
    c->step[head].in.attr[2]++;
    c->slot[slot] = (dd_slot){.kind = DD_SLOT_BLOCK};
    for (size_t i = head + 1; i <= end; i++) {
        dd_command *k = &c->step[i];
        if (k->out.slot == slot) k->in.buffer[0] = buffer;
        for (int s = 0; s < k->in.nsrc; s++)
            if (k->src[s].slot == slot) k->in.buffer[1 + s] = buffer;
    }
}

dd_status dd_fuse_first(dd_compiled *c, dd_backend *b)
{
    size_t head[MOST_READERS];
    for (size_t j = 0; b->joins && j < c->nstep; j++) {
        const dd_command *k = &c->step[j];
        const int most = k->group ? 0 : b->joins(b, &k->in);
        if (!most) continue;
        if (k->in.kind == DD_K_CONV_DW) {
            const size_t group = maker(c, j);
            if (group && can_hurry(c, j, group - 1)) join_maker(c, j, group - 1);
            continue;
        }
        if (c->slot[k->out.slot].kind != DD_SLOT_ARENA) continue;
        const int n = readers(c, j, head);
        if (n == 0 || n > most || !can_wait(c, j, head[n - 1])) continue;
        DD_TRY(join_readers(c, j, n, head));
        j--; /* another step stands here now */
    }
    return DD_OK;
}

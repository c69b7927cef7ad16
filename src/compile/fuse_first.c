/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of few channels in row groups, so that the largest tensors of a network, those of its first layer, are
 * never in memory:
 *   - one whose result only row groups read becomes the first member of each of them: its planes are computed a block
 *     of rows at a time and used while they are in cache, again by every group, which is cheaper than reading them;
 *   - the gradients of its weights and of the images become the last members of the group that alone makes what they
 *     read.
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
    if (x != y && (dd_slot_carried(c, input) || dd_slot_carried(c, output))) return false;
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

/* ---- the last members ---- */

/* The gradients by the weights and by the images that read what one group makes. */
typedef struct gradients {
    size_t step[2], head; /* ascending; of the group */
    int n;
} gradients;

/* The operand of CONV_DW or CONV_DX that the way back has made. */
static int gradient_of(const dd_command *k)
{
    return k->in.kind == DD_K_CONV_DW;
}

static bool may_join(dd_backend *b, const dd_command *k)
{
    return !k->group && (k->in.kind == DD_K_CONV_DW || k->in.kind == DD_K_CONV_DX) && b->joins(b, &k->in) &&
           k->src[gradient_of(k)].offset == 0 && k->src[1 - gradient_of(k)].slot != k->src[gradient_of(k)].slot;
}

/* Step j and the others that differentiate by what it does, in *g; false unless one member alone writes that and these
 * steps and other members alone read it. */
static bool find_gradients(const dd_compiled *c, dd_backend *b, size_t j, gradients *g)
{
    const dd_command *conv = &c->step[j];
    const int slot = conv->src[gradient_of(conv)].slot;
    const dd_view *u = &conv->in.src[gradient_of(conv)];
    size_t group = 0;
    if (c->slot[slot].kind != DD_SLOT_ARENA) return false;
    for (size_t i = 0; i < c->nstep; i++) {
        const dd_command *k = &c->step[i];
        if (k->out.slot != slot || k->in.kind == DD_K_ROWS) continue;
        if (group || !k->group || i > j || !plane_by_plane(&k->in.dst, k->out.offset, u)) return false;
        group = k->group;
    }
    if (!group || c->step[group - 1].in.attr[0] != u->dim[0] * u->dim[1]) return false;
    *g = (gradients){.head = group - 1};
    for (size_t i = g->head + 1; i < end_of(c, g->head); i++) /* threads share a group by the images of one CONV_DX */
        if (c->step[i].in.kind == DD_K_CONV_DX && c->step[i].in.src[0].dim[1] != u->dim[1]) return false;
    for (size_t i = 0; i < c->nstep; i++) {
        const dd_command *k = &c->step[i];
        for (int s = 0; s < k->in.nsrc; s++) {
            if (k->src[s].slot != slot || k->group == group) continue;
            if (g->n == (int)DD_LEN(g->step) || !may_join(b, k) || s != gradient_of(k)) return false;
            if (!dd_view_same(&k->in.src[s], u)) return false; /* not a part of it, or in another shape */
            g->step[g->n++] = i;
        }
    }
    return true;
}

static bool meet(dd_place a, const dd_view *va, dd_place b, const dd_view *vb)
{
    return a.slot == b.slot && a.offset < b.offset + dd_view_count(vb) && b.offset < a.offset + dd_view_count(va);
}

/* Whether the i-th gradient may run with the group: nothing from there to it writes what it reads or touches what it
 * writes. A gradient of weights is written when the group and the gradients that join it have read all. */
static bool can_hurry(const dd_compiled *c, const gradients *g, int at)
{
    const dd_command *conv = &c->step[g->step[at]];
    const bool late = conv->in.kind == DD_K_CONV_DW;
    for (size_t i = g->head + 1; i < g->step[at]; i++) {
        const dd_command *k = &c->step[i];
        const bool joins = i < end_of(c, g->head) || (at > 0 && i == g->step[0]);
        if (k->in.kind == DD_K_ROWS) continue;
        if (k->out.slot == conv->src[1 - gradient_of(conv)].slot) return false;
        if (meet(k->out, &k->in.dst, conv->out, &conv->in.dst)) return false;
        for (int s = 0; s < k->in.nsrc; s++)
            if (k->src[s].slot == conv->out.slot ||
                (!(late && joins) && may_be_same(c, k->src[s].slot, conv->out.slot)))
                return false;
    }
    return true;
}

/* Whether step `at`, which is no member, may run before the group. */
static bool can_lead(const dd_compiled *c, size_t at, size_t head)
{
    const dd_command *k = &c->step[at];
    if (k->group || k->in.kind == DD_K_ROWS || c->slot[k->out.slot].kind != DD_SLOT_ARENA) return false;
    for (size_t i = head + 1; i < at; i++) {
        const dd_command *m = &c->step[i];
        if (m->in.kind == DD_K_ROWS) continue;
        if (m->out.slot == k->out.slot) return false;
        for (int s = 0; s < k->in.nsrc; s++)
            if (k->src[s].slot == m->out.slot) return false;
        for (int s = 0; s < m->in.nsrc; s++)
            if (m->src[s].slot == k->out.slot) return false;
    }
    return true;
}

/* What step j reads besides the group's rows may be made between the two, because that is where it is first needed: it
 * goes before the group. */
static void lead(dd_compiled *c, gradients *g, int i)
{
    const int slot = c->step[g->step[i]].src[1 - gradient_of(&c->step[g->step[i]])].slot;
    for (size_t at = end_of(c, g->head); at < g->step[i]; at++) {
        const dd_command k = c->step[at];
        if (k.out.slot != slot || !can_lead(c, at, g->head)) continue;
        drop(c, at);
        insert(c, g->head++, &k);
        for (int j = 0; j < i; j++) g->step[j] += g->step[j] < at; /* what stood before it stands one later */
    }
}

/* The buffer of an operand that ends with the member that makes `slot`, row for row; 0: there is none. */
static int buffer_to_take(const dd_compiled *c, size_t head, int slot)
{
    size_t at = head + 1;
    while (c->step[at].out.slot != slot) at++;
    const dd_command *k = &c->step[at];
    for (int s = 0; s < k->in.nsrc && k->in.kind == DD_K_POINTWISE; s++) {
        const int buffer = k->in.buffer[1 + s];
        bool last = buffer > 0 && dd_view_same(&k->in.dst, &k->in.src[s]);
        for (size_t i = at + 1; last && i < end_of(c, head); i++)
            for (int j = 0; j <= c->step[i].in.nsrc; j++)
                last = last && c->step[i].in.buffer[j] != buffer && c->step[i].in.buffer[j] >= 0;
        if (last) return buffer;
    }
    return 0;
}

static void join_makers(dd_compiled *c, const gradients *g)
{
    const int slot = c->step[g->step[0]].src[gradient_of(&c->step[g->step[0]])].slot;
    int buffer = buffer_to_take(c, g->head, slot);
    if (!buffer) buffer = (int)++c->step[g->head].in.attr[3];
    for (int i = 0; i < g->n; i++) {
        dd_command conv = c->step[g->step[i]];
        const size_t end = end_of(c, g->head);
        drop(c, g->step[i]);
        conv.group = g->head + 1;
        insert(c, end, &conv);
        c->step[g->head].in.attr[2]++;
    }
    c->slot[slot] = (dd_slot){.kind = DD_SLOT_BLOCK};
    for (size_t i = g->head + 1; i < end_of(c, g->head); i++) {
        dd_command *k = &c->step[i];
        if (k->out.slot == slot) k->in.buffer[0] = buffer;
        for (int s = 0; s < k->in.nsrc; s++)
            if (k->src[s].slot == slot) k->in.buffer[1 + s] = buffer;
    }
}

static void join_gradients(dd_compiled *c, dd_backend *b, size_t j)
{
    gradients g;
    bool can = may_join(b, &c->step[j]) && find_gradients(c, b, j, &g);
    for (int i = 0; can && i < g.n; i++) {
        lead(c, &g, i);
        can = can_hurry(c, &g, i);
    }
    if (can) join_makers(c, &g);
}

dd_status dd_fuse_first(dd_compiled *c, dd_backend *b)
{
    size_t head[MOST_READERS];
    for (size_t j = 0; b->joins && j < c->nstep; j++) {
        const dd_command *k = &c->step[j];
        join_gradients(c, b, j);
        const int most = k->group || k->in.kind != DD_K_CONV ? 0 : b->joins(b, &k->in);
        if (!most || c->slot[k->out.slot].kind != DD_SLOT_ARENA) continue;
        const int n = readers(c, j, head);
        if (n == 0 || n > most || !can_wait(c, j, head[n - 1])) continue;
        DD_TRY(join_readers(c, j, n, head));
        j--; /* another step stands here now */
    }
    return DD_OK;
}

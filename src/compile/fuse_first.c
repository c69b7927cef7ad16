/* SPDX-License-Identifier: Apache-2.0
 *
 * A convolution of few channels whose result only one row group reads becomes that group's first member: its planes are
 * computed a block of rows at a time and used while they are in cache. The first layer of an embedding or a test then
 * neither writes nor reads its output, the largest tensor of a network, in memory. Knows the instruction format. */
#include "compile/passes.h"

#include <string.h>

/* The group that alone reads what step j writes, all of it row for row; 0: there is none, else 1 + its ROWS. */
static size_t only_reader(const dd_compiled *c, size_t j)
{
    const dd_command *conv = &c->step[j];
    const int64_t rows = conv->in.dst.dim[0] * conv->in.dst.dim[1], count = dd_view_count(&conv->in.dst);
    size_t group = 0;
    for (size_t i = 0; i < c->nstep; i++) {
        const dd_command *k = &c->step[i];
        if (i != j && k->out.slot == conv->out.slot) return 0;
        for (int s = 0; s < k->in.nsrc; s++) {
            if (k->src[s].slot != conv->out.slot) continue;
            if (!k->group || (group && k->group != group) || k->src[s].offset != 0 || i < j) return 0;
            const dd_view *v = &k->in.src[s];
            if (!dd_view_contiguous(v) || dd_view_count(v) != count || v->dim[v->rank - 1] != count / rows) return 0;
            group = k->group;
        }
    }
    return group && c->step[group - 1].in.attr[0] == rows ? group : 0;
}

/* Whether the convolution may run as late as in the group at `head`: nothing on the way writes what it reads. What the
 * caller binds to an output may be what it binds to an input of the same size. */
static bool can_wait(const dd_compiled *c, size_t j, size_t head)
{
    const dd_command *conv = &c->step[j];
    for (size_t i = j + 1; i <= head + (size_t)c->step[head].in.attr[2]; i++) {
        const int to = c->step[i].out.slot;
        if (c->step[i].in.kind == DD_K_ROWS) continue;
        for (int s = 0; s < conv->in.nsrc; s++) {
            const dd_slot *x = &c->slot[conv->src[s].slot], *y = &c->slot[to];
            if (x == y || (x->kind == DD_SLOT_INPUT && y->kind == DD_SLOT_OUTPUT && x->bytes == y->bytes)) return false;
        }
    }
    return true;
}

/* Steps j+1..head move up by one and the convolution stands behind its group's head. */
static void join(dd_compiled *c, size_t j, size_t head)
{
    dd_command conv = c->step[j];
    const int buffer = (int)++c->step[head].in.attr[3];
    memmove(c->step + j, c->step + j + 1, (head - j) * sizeof conv);
    for (size_t i = 0; i < c->nstep; i++)
        if (c->step[i].group > j + 1 && c->step[i].group <= head + 1) c->step[i].group--;
    conv.group = head; /* 1 + the head's new place */
    conv.in.buffer[0] = buffer;
    c->step[head] = conv;
    dd_command *rows = &c->step[head - 1];
    rows->in.attr[2]++;
    for (size_t i = head + 1; i < head + (size_t)rows->in.attr[2]; i++)
        for (int s = -1; s < c->step[i].in.nsrc; s++) {
            int *b = &c->step[i].in.buffer[1 + s];
            if (s >= 0 && c->step[i].src[s].slot == conv.out.slot) *b = buffer;
            if (*b < 0) --*b; /* members are named by their place */
        }
    c->slot[conv.out.slot].kind = DD_SLOT_BLOCK;
    c->slot[conv.out.slot].bytes = 0;
}

void dd_fuse_first(dd_compiled *c, dd_backend *b)
{
    for (size_t j = 0; b->joins && j < c->nstep; j++) {
        const dd_command *k = &c->step[j];
        if (k->in.kind != DD_K_CONV || k->group || c->slot[k->out.slot].kind != DD_SLOT_ARENA || !b->joins(b, &k->in))
            continue;
        const size_t group = only_reader(c, j);
        if (!group || group - 1 < j || !can_wait(c, j, group - 1)) continue;
        if (c->step[group].in.kind == DD_K_CONV) continue; /* one a group: it keeps the image it is at */
        join(c, j, group - 1);
        j--; /* another step stands here now */
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Max pooling and its derivatives are gathers and scatters by the index of each window's maximum. Where windows are 2x2
 * and do not overlap, these are told so: a kernel can then look at the four places of a window instead of anywhere.
 * Knows the instruction format. */
#include "compile/passes.h"

#include <string.h>

/* The step that made the whole of an index; NULL: no 2x2 window's. */
static const dd_command *maker(const dd_compiled *c, size_t reader)
{
    static const int64_t halving[6] = {2, 2, 2, 2, 0, 0};
    const dd_command *k = &c->step[reader], *found = NULL;
    for (size_t i = 0; i < reader; i++) {
        const dd_command *w = &c->step[i];
        if (w->out.slot != k->src[1].slot) continue;
        if (found || w->in.kind != DD_K_POOL_ARGMAX || memcmp(w->in.attr, halving, sizeof halving) != 0) return NULL;
        found = w;
    }
    const bool same = found && k->src[1].offset == found->out.offset && dd_view_contiguous(&k->in.src[1]) &&
                      dd_view_count(&k->in.src[1]) == dd_view_count(&found->in.dst);
    return same ? found : NULL;
}

void dd_mark_windows(dd_compiled *c)
{
    for (size_t i = 0; i < c->nstep; i++) {
        dd_instr *in = &c->step[i].in;
        if ((in->kind != DD_K_GATHER && in->kind != DD_K_SCATTER_ADD) || !in->attr[0]) continue;
        const dd_command *w = maker(c, i);
        const dd_view *large = in->kind == DD_K_GATHER ? &in->src[0] : &in->dst;
        if (!w || dd_view_count(large) != dd_view_count(&w->in.src[0])) continue;
        const int64_t plane[4] = {w->in.src[0].dim[2], w->in.src[0].dim[3], w->in.dst.dim[2], w->in.dst.dim[3]};
        memcpy(in->attr + 1, plane, sizeof plane);
    }
}

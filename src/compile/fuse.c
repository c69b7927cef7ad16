/* SPDX-License-Identifier: Apache-2.0
 *
 * Row groups. Pointwise steps, reductions over trailing axes and 2x2 pooling that see the same rows (the pixels of a
 * channel, the classes of a logit) become one instruction that takes a block of rows through all of them while it is in
 * cache. Values that no step outside reads lose their memory. Three passes:
 *   1. grow: a group stands where its first step stood; a later step joins if nothing it jumps over writes what it
 *      reads;
 *   2. recompute: a group that reads whole rows which an earlier group computed pointwise computes them again from
 *      what that one read, where this loads no more (the normalised activation from the convolution's output);
 *      Steps that nobody reads any more after that are dropped;
 *   3. emit: buffers for what stays inside, and the new list. A row with one number per row added, multiplied and so on
 *      (normalising, scale and shift) gets no buffer: its readers compute it from the row and the numbers.
 * Knows the instruction format and base. */
#include "compile/fuse_internal.h"

#include <string.h>

static dd_status push(dd_fuser *f, const dd_command *k)
{
    if (dd_grow((void **)&f->out, &f->out_cap, f->nout + 1, sizeof *f->out) != DD_OK) return dd_fuse_no_memory(f);
    f->out[f->nout++] = *k;
    return DD_OK;
}

static dd_status push_group(dd_fuser *f, dd_group *g)
{
    const size_t at = f->nout;
    dd_command head = {.out = g->k[0].out};
    head.in = (dd_instr){.kind = DD_K_ROWS,
                         .dst = g->k[0].in.dst,
                         .attr = {g->outer, g->longest, (int64_t)g->n, dd_group_buffers(f, g)}};
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

static dd_status emit_all(dd_fuser *f)
{
    dd_compiled *c = f->c;
    for (size_t i = 0; i < c->nstep; i++) {
        if (!f->of[i])
            DD_TRY(push(f, &c->step[i]));
        else if (f->group[f->of[i] - 1]->first == i && f->group[f->of[i] - 1]->n > 0)
            DD_TRY(push_group(f, f->group[f->of[i] - 1]));
    }
    dd_free(c->step);
    c->step = f->out;
    c->nstep = f->nout;
    c->step_cap = f->out_cap;
    f->out = NULL;
    return DD_OK;
}

/* What groups computed again, nobody may read any more where it was computed first. Readers come after writers. */
static void drop_unread(dd_fuser *f)
{
    for (size_t i = f->ngroup; i-- > 0;) {
        dd_group *g = f->group[i];
        for (size_t m = g->n; m-- > 0;) {
            const dd_command *k = &g->k[m];
            if (f->reads[k->out.slot] > 0) continue;
            for (int j = 0; j < k->in.nsrc; j++) f->reads[k->src[j].slot]--;
            f->c->slot[k->out.slot] = (dd_slot){.kind = DD_SLOT_BLOCK};
            memmove(&g->k[m], &g->k[m + 1], (g->n - m - 1) * sizeof g->k[0]);
            g->n--;
        }
    }
}

static dd_status fuse_all(dd_fuser *f)
{
    const dd_compiled *c = f->c;
    for (size_t i = 0; i < c->nstep; i++) {
        f->writes[c->step[i].out.slot]++;
        for (int j = 0; j < c->step[i].in.nsrc; j++) f->reads[c->step[i].src[j].slot]++;
    }
    DD_TRY(dd_groups_form(f));
    for (size_t i = 1; i <= f->ngroup; i++) DD_TRY(dd_group_recompute(f, i));
    drop_unread(f);
    return emit_all(f);
}

dd_status dd_fuse_rows(dd_compiled *c)
{
    dd_fuser f = {.c = c, .slots = c->nslot + 2 * c->nstep + 1};
    f.of = dd_alloc(c->nstep + 1, sizeof *f.of);
    f.owner = dd_alloc(f.slots, sizeof *f.owner);
    f.skipped = dd_alloc(f.slots, sizeof *f.skipped);
    f.reads = dd_alloc(f.slots, sizeof *f.reads);
    f.writes = dd_alloc(f.slots, sizeof *f.writes);
    f.buffer = dd_alloc(f.slots, sizeof *f.buffer);
    const bool ok = f.of && f.owner && f.skipped && f.reads && f.writes && f.buffer;
    const dd_status status = ok ? fuse_all(&f) : dd_fuse_no_memory(&f);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Recomputing: a group that reads whole rows which an earlier group computed pointwise computes them again from what
 * that one read, where this loads no more (the normalised activation from the convolution's output). Knows the
 * instruction format and base. */
#include "compile/fuse_internal.h"

#include "base/memory.h"

#include <string.h>

enum { WIDE_READS = 16 };

/* What a group would compute again: slots, sources before readers. */
typedef struct rerun {
    const dd_command *from[DD_GROUP_MOST];
    size_t n;
    int leaf[WIDE_READS]; /* whole rows it must read */
    size_t nleaf;
    bool failed;
} rerun;

/* The step in an earlier group of as many rows that wrote `slot`, whole rows, and costs little: a pointwise one, or one
 * that enlarges a row by pooling's transpose. NULL: none. */
static const dd_command *earlier(const dd_fuser *f, const dd_group *g, int slot)
{
    const size_t own = f->owner[slot];
    if (!own || f->group[own - 1] == g || f->group[own - 1]->outer != g->outer) return NULL;
    const dd_command *w = dd_group_writer(f->group[own - 1], slot);
    const bool whole = f->writes[slot] == 1 && w->out.offset == 0;
    const bool cheap = w->in.kind == DD_K_POINTWISE || w->in.kind == DD_K_SUMPOOL_T;
    return cheap && dd_rows_width(&w->in.dst) > 1 && whole ? w : NULL;
}

/* All who read `slot` are in groups of as many rows, so that nobody needs it in memory. */
static bool avoidable(const dd_fuser *f, int slot)
{
    const dd_group *home = f->group[f->owner[slot] - 1];
    for (size_t i = 0; i < f->c->nstep; i++)
        for (int j = 0; j < f->c->step[i].in.nsrc; j++)
            if (f->c->step[i].src[j].slot == slot && (!f->of[i] || f->group[f->of[i] - 1]->outer != home->outer))
                return false;
    return true;
}

/* An input may be bound to the tensor of an output, which steps before the group may have written. */
static bool still_there(const dd_fuser *f, const dd_group *g, int slot)
{
    const dd_slot *s = &f->c->slot[slot];
    if (dd_slot_carried(f->c, slot)) return true;
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

static void plan_rerun(const dd_fuser *f, const dd_group *g, int slot, rerun *r)
{
    const dd_command *w = earlier(f, g, slot);
    for (size_t i = 0; i < r->n; i++)
        if (r->from[i]->out.slot == slot) return;
    const dd_view *row = w->in.kind == DD_K_SUMPOOL_T ? &w->in.src[0] : &w->in.dst;
    for (int j = 0; j < w->in.nsrc && !r->failed; j++) {
        const int s = w->src[j].slot;
        const bool wide = dd_rows_aligned(&w->in.src[j], dd_rows_width(row));
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
    if (r->n + g->n >= DD_GROUP_MOST) r->failed = true;
    if (!r->failed) r->from[r->n++] = w;
}

static bool same_step(const dd_command *a, const dd_command *b)
{
    if (a->in.kind != b->in.kind || a->in.ew != b->in.ew || a->in.nsrc != b->in.nsrc) return false;
    if (memcmp(a->in.attr, b->in.attr, sizeof a->in.attr) != 0 || !dd_view_same(&a->in.dst, &b->in.dst)) return false;
    for (int j = 0; j < a->in.nsrc; j++)
        if (a->src[j].slot != b->src[j].slot || a->src[j].offset != b->src[j].offset ||
            !dd_view_same(&a->in.src[j], &b->in.src[j]))
            return false;
    return true;
}

static void replace(dd_command *k, int from, int to)
{
    for (int j = 0; j < k->in.nsrc; j++)
        if (k->src[j].slot == from) k->src[j] = (dd_place){to, 0};
}

/* k, a copy, gets a slot of its own. */
static dd_status own_slot(dd_fuser *f, size_t self, dd_command *k)
{
    dd_compiled *c = f->c;
    if (dd_grow((void **)&c->slot, &c->slot_cap, c->nslot + 1, sizeof *c->slot) != DD_OK) return dd_fuse_no_memory(f);
    c->slot[c->nslot] = c->slot[k->out.slot];
    k->out = (dd_place){(int)c->nslot, 0};
    f->owner[c->nslot] = self;
    f->writes[c->nslot] = 1;
    c->nslot++;
    for (int j = 0; j < k->in.nsrc; j++) f->reads[k->src[j].slot]++;
    return DD_OK;
}

static void redirect(dd_fuser *f, dd_command *k, int from, int to)
{
    for (int j = 0; j < k->in.nsrc; j++) {
        if (k->src[j].slot != from) continue;
        f->reads[from]--;
        f->reads[to]++;
    }
    replace(k, from, to);
}

static dd_status put_first(dd_fuser *f, dd_group *g, size_t self, const rerun *r, dd_command *made)
{
    int to[DD_GROUP_MOST];
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        dd_command k = *r->from[i];
        size_t same = 0;
        for (size_t b = 0; b < i; b++) replace(&k, r->from[b]->out.slot, to[b]);
        while (same < n && !same_step(&made[same], &k)) same++; /* what earlier groups computed twice, too */
        if (same == n) {
            DD_TRY(own_slot(f, self, &k));
            made[n++] = k;
        }
        to[i] = made[same].out.slot;
    }
    for (size_t i = 0; i < r->n; i++)
        for (size_t m = 0; m < g->n; m++) redirect(f, &g->k[m], r->from[i]->out.slot, to[i]);
    memmove(&g->k[n], &g->k[0], g->n * sizeof g->k[0]);
    memcpy(&g->k[0], made, n * sizeof *made);
    g->n += n;
    for (size_t i = 0; i < n; i++)
        if (dd_rows_width(&made[i].in.dst) > g->longest) g->longest = dd_rows_width(&made[i].in.dst);
    return DD_OK;
}

static dd_status apply_rerun(dd_fuser *f, dd_group *g, size_t self, const rerun *r)
{
    dd_command *made = dd_alloc(r->n, sizeof *made);
    const dd_status s = made ? put_first(f, g, self, r, made) : dd_fuse_no_memory(f);
    dd_free(made);
    return s;
}

/* Does the group read `slot` only where its rows were written? */
static bool reads_rows(const dd_group *g, int slot, int64_t width)
{
    for (size_t i = 0; i < g->n; i++)
        for (int j = 0; j < g->k[i].in.nsrc; j++)
            if (g->k[i].src[j].slot == slot &&
                (g->k[i].src[j].offset != 0 || !dd_rows_aligned(&g->k[i].in.src[j], width)))
                return false;
    return true;
}

/* Whole rows that the group reads of earlier ones and nobody would need in memory. */
static size_t avoidable_reads(const dd_fuser *f, const dd_group *g, int *list)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        for (int j = 0; j < g->k[i].in.nsrc; j++) {
            const int s = g->k[i].src[j].slot;
            const dd_command *w = n < WIDE_READS && !among(list, n, s) ? earlier(f, g, s) : NULL;
            if (w && reads_rows(g, s, dd_rows_width(&w->in.dst)) && avoidable(f, s)) list[n++] = s;
        }
    return n;
}

dd_status dd_group_recompute(dd_fuser *f, size_t self)
{
    dd_group *g = f->group[self - 1];
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
        if (!reads_rows(g, r.from[i]->out.slot, dd_rows_width(&r.from[i]->in.dst))) return DD_OK;
    if (n == 0 || r.failed || loads > n || f->c->nslot + r.n > f->slots) return DD_OK;
    return apply_rerun(f, g, self, &r);
}

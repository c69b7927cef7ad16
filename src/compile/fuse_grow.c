/* SPDX-License-Identifier: Apache-2.0
 *
 * Growing row groups: a group stands where its first step stood; a later step joins if nothing it jumps over writes
 * what it reads. Knows the instruction format and base. */
#include "compile/fuse_internal.h"

#include "base/memory.h"

enum { FEWEST_ROWS = 16 };

/* k with its rows if it may join. */
static bool joins(const dd_fuser *f, dd_group *g, const dd_command *k, dd_command *rows)
{
    int64_t longest = g->longest;
    if (g->n == DD_GROUP_MOST || !dd_rows_candidate(f->c, k) || k->in.dst.dtype != g->k[0].in.dst.dtype) return false;
    if (f->skipped[k->out.slot] || dd_group_writer(g, k->out.slot) || !dd_rows_of(k, g->outer, &longest, rows))
        return false;
    for (int i = 0; i < k->in.nsrc; i++) {
        const dd_command *w = dd_group_writer(g, k->src[i].slot);
        if (f->skipped[k->src[i].slot]) return false;
        if (w && (k->src[i].offset != w->out.offset || !dd_rows_aligned(&rows->in.src[i], dd_rows_width(&w->in.dst))))
            return false;
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
static void skip(dd_fuser *f, const dd_command *k, bool on)
{
    f->skipped[k->out.slot] = on;
    for (int i = 0; i < k->in.nsrc; i++)
        if (f->writes[k->src[i].slot] > 1) f->skipped[k->src[i].slot] = on;
}

static void add(dd_fuser *f, dd_group *g, const dd_command *rows, size_t step)
{
    g->k[g->n++] = *rows;
    f->of[step] = f->ngroup + 1;
}

static void grow(dd_fuser *f, dd_group *g)
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
    if (dd_rows_reduction(k)) return dd_view_count(v);
    if (dd_rows_pool(k)) return v->dim[0] * v->dim[1];
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
static int64_t find_rows(const dd_fuser *f, size_t at)
{
    const dd_compiled *c = f->c;
    const int64_t count = dd_view_count(&c->step[at].in.dst), own = own_rows(&c->step[at]);
    if (own) return own;
    size_t flat = 0;
    for (size_t j = at + 1; j < c->nstep && !heavy(&c->step[j]); j++) {
        if (!reads(&c->step[j], c->step[at].out.slot) || !dd_rows_candidate(c, &c->step[j])) continue;
        const int64_t rows = own_rows(&c->step[j]);
        if (rows && count % rows == 0) return rows;
        if (!rows && !flat) flat = j;
    }
    const int64_t rows = flat ? find_rows(f, flat) : count;
    return rows && count % rows == 0 ? rows : count;
}

static dd_status keep(dd_fuser *f, dd_group *g)
{
    for (size_t i = 0; i < g->n; i++) f->owner[g->k[i].out.slot] = f->ngroup + 1;
    if (dd_grow((void **)&f->group, &f->group_cap, f->ngroup + 1, sizeof *f->group) != DD_OK)
        return dd_fuse_no_memory(f);
    f->group[f->ngroup++] = g;
    return DD_OK;
}

dd_status dd_groups_form(dd_fuser *f)
{
    for (size_t i = 0; i < f->c->nstep; i++) {
        const dd_command *k = &f->c->step[i];
        dd_command rows;
        int64_t longest = 1;
        if (f->of[i] || !dd_rows_candidate(f->c, k) || dd_view_count(&k->in.dst) == 0) continue;
        const int64_t outer = find_rows(f, i);
        if (outer < FEWEST_ROWS || !dd_rows_of(k, outer, &longest, &rows)) continue;
        dd_group *g = dd_alloc(1, sizeof *g);
        if (!g) return dd_fuse_no_memory(f);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * What stays inside a row group: values that only members read have a buffer of one block, and a row with one number
 * per row added, multiplied and so on (normalising, scale and shift) not even that: its readers compute it from the row
 * and the numbers. Knows the instruction format and base. */
#include "compile/fuse_internal.h"

static int reads_within(const dd_group *g, int slot, size_t *last)
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
static bool inside(const dd_fuser *f, const dd_group *g, const dd_command *k, size_t *last)
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
    const int64_t width = dd_rows_width(&k->in.dst);
    const bool op = k->in.ew == DD_EW_ADD || k->in.ew == DD_EW_SUB || k->in.ew == DD_EW_MUL;
    return k->in.kind == DD_K_POINTWISE && op && full_row(&k->in.src[0], width) && full_row(&k->in.src[1], width);
}

/* The operand that is a row where the other, if there is one, is a number per row; -1: k is not of that form. */
static int affine_operand(const dd_command *k)
{
    const int64_t width = dd_rows_width(&k->in.dst);
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
static bool computes(const dd_fuser *f, const dd_group *g, const dd_command *r, int slot, bool step)
{
    const bool twice = r->in.nsrc > 1 && r->src[0].slot == r->src[1].slot;
    if (step) {
        const dd_command *other = two_rows(r) ? dd_group_writer(g, r->src[r->src[0].slot == slot].slot) : NULL;
        return two_rows(r) && r->in.ew == DD_EW_MUL && !twice &&
               !(other && f->buffer[other->out.slot] < 0 && other->in.ew == DD_EW_STEP);
    }
    if (r->in.kind == DD_K_SUM || r->in.kind == DD_K_SUMMUL) {
        for (int j = 0; j < r->in.nsrc; j++)
            if (!full_row(&r->in.src[j], dd_rows_width(&r->in.src[0]))) return false;
        return true;
    }
    const int wide = affine_operand(r);
    const bool gate = r->in.kind == DD_K_POINTWISE && r->in.ew == DD_EW_STEP && f->buffer[r->out.slot] < 0;
    return gate || two_rows(r) || (wide >= 0 && r->src[wide].slot == slot);
}

/* Marks the values that their readers compute, from the last member to the first since a STEP's reader decides whether
 * the row before it may go. */
static void spare(dd_fuser *f, const dd_group *g)
{
    for (size_t i = g->n; i-- > 0;) {
        const dd_command *k = &g->k[i];
        const bool step = k->in.kind == DD_K_POINTWISE && k->in.ew == DD_EW_STEP;
        size_t last = i;
        bool good = step ? full_row(&k->in.src[0], dd_rows_width(&k->in.dst)) : affine_operand(k) >= 0;
        if (!good || !inside(f, g, k, &last) || last == i) continue;
        for (size_t m = 0; m < g->n && good; m++)
            for (int j = 0; j < g->k[m].in.nsrc; j++)
                good = good && (g->k[m].src[j].slot != k->out.slot || computes(f, g, &g->k[m], k->out.slot, step));
        if (good) f->buffer[k->out.slot] = -(int)(1 + i);
    }
}

/* The last member that needs what member i writes, by way of readers that compute it in their readers, too. */
static void find_last(const dd_fuser *f, const dd_group *g, size_t *last)
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
int dd_group_buffers(dd_fuser *f, const dd_group *g)
{
    size_t until[DD_GROUP_MOST], last[DD_GROUP_MOST]; /* until: last member that needs the buffer */
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * One step seen as rows: which steps may join a row group, and their views with the row as last axis. Knows the
 * instruction format and base. */
#include "compile/fuse_internal.h"

#include <string.h>

enum { LONGEST_ROW = 16384 };

bool dd_rows_reduction(const dd_command *k)
{
    return k->in.kind == DD_K_SUM || k->in.kind == DD_K_SUMMUL || k->in.kind == DD_K_MAXR;
}

/* Pooling by 2x2 windows that do not overlap, one plane a row. */
bool dd_rows_pool(const dd_command *k)
{
    static const int64_t halving[6] = {2, 2, 2, 2, 0, 0};
    if (k->in.kind != DD_K_SUMPOOL && k->in.kind != DD_K_SUMPOOL_T) return false;
    return k->in.dst.dtype == DD_F32 && k->in.dst.rank == 4 && memcmp(k->in.attr, halving, sizeof halving) == 0;
}

/* A tensor bound as an output may be an input's as well, so its writer stays where it is. */
bool dd_rows_candidate(const dd_compiled *c, const dd_command *k)
{
    const dd_dtype t = k->in.dst.dtype;
    if (k->in.kind != DD_K_POINTWISE && !dd_rows_reduction(k) && !dd_rows_pool(k)) return false;
    if ((t != DD_F32 && t != DD_F64) || c->slot[k->out.slot].kind != DD_SLOT_ARENA) return false;
    for (int i = 0; i < k->in.nsrc; i++)
        if (k->in.src[i].dtype != t) return false;
    return dd_view_contiguous(&k->in.dst);
}

/* Makes the trailing `len` elements of v one last axis; false where axes or strides do not allow it. */
static bool split_rows(dd_view *v, int64_t len)
{
    int64_t left = len;
    int i = v->rank;
    while (left > 1 && i > 0 && left % v->dim[i - 1] == 0) left /= v->dim[--i];
    if (left > 1) { /* the row begins within axis i - 1 */
        if (i == 0 || v->dim[i - 1] % left || v->rank == DD_MAX_RANK) return false;
        for (int j = v->rank; j > i; j--) {
            v->dim[j] = v->dim[j - 1];
            v->stride[j] = v->stride[j - 1];
        }
        v->rank++;
        v->dim[i] = left;
        v->stride[i] = v->stride[i - 1];
        v->stride[i - 1] *= left;
        v->dim[i - 1] /= left;
    }
    int64_t step = 0, count = 1;
    for (int j = v->rank - 1; j >= i; j--) {
        if (v->dim[j] == 1) continue;
        if (count == 1) step = v->stride[j];
        if (v->stride[j] != step * count) return false;
        count *= v->dim[j];
    }
    if (i == DD_MAX_RANK) return false;
    v->rank = i + 1;
    v->dim[i] = len;
    v->stride[i] = step;
    return true;
}

/* Exactly the trailing axes are reduced: every axis before the row is kept. */
static bool fold_rows(const dd_command *k, int64_t outer, dd_command *out)
{
    int64_t kept = 1, s = 1;
    for (int i = 0; i < k->in.dst.rank && k->in.dst.dim[i] == k->in.src[0].dim[i]; i++) kept *= k->in.dst.dim[i];
    dd_view *y = &out->in.dst;
    *y = out->in.src[0];
    y->dim[y->rank - 1] = 1;
    for (int i = y->rank - 1; i >= 0; i--) {
        y->stride[i] = s;
        s *= y->dim[i];
    }
    return kept == outer && s == outer && dd_view_count(&k->in.dst) == outer;
}

/* attr becomes height and width of the large and of the small plane. */
static bool pool_rows(const dd_command *k, int64_t outer, dd_command *out)
{
    const bool t = k->in.kind == DD_K_SUMPOOL_T;
    const dd_view *big = t ? &k->in.dst : &k->in.src[0], *small = t ? &k->in.src[0] : &k->in.dst;
    const int64_t plane[4] = {big->dim[2], big->dim[3], small->dim[2], small->dim[3]};
    if (big->dim[0] * big->dim[1] != outer) return false;
    memcpy(out->in.attr, plane, sizeof plane);
    return split_rows(&out->in.src[0], dd_view_count(&k->in.src[0]) / outer) &&
           split_rows(&out->in.dst, dd_view_count(&k->in.dst) / outer);
}

/* The views of k with `outer` rows, the row as their last axis; *longest grows to the longest of them. */
bool dd_rows_of(const dd_command *k, int64_t outer, int64_t *longest, dd_command *out)
{
    const int64_t most = dd_view_count(dd_rows_reduction(k) || k->in.kind == DD_K_SUMPOOL ? &k->in.src[0] : &k->in.dst);
    const int64_t width = most / outer;
    *out = *k;
    if (width < 1 || width > LONGEST_ROW || width * outer != most) return false;
    if (width > *longest) *longest = width;
    if (dd_rows_pool(k)) return pool_rows(k, outer, out);
    for (int i = 0; i < k->in.nsrc; i++)
        if (!split_rows(&out->in.src[i], width)) return false;
    return dd_rows_reduction(k) ? fold_rows(k, outer, out) : split_rows(&out->in.dst, width);
}

int64_t dd_rows_width(const dd_view *rows)
{
    return rows->dim[rows->rank - 1];
}

/* Does v read row r of a value where row r was written, `width` elements each? */
bool dd_rows_aligned(const dd_view *v, int64_t width)
{
    const int last = v->rank - 1;
    dd_view rows = *v;
    if (width > 1) return v->dim[last] == width && dd_view_contiguous(v);
    if (v->dim[last] != 1 && v->stride[last] != 0) return false;
    rows.rank = last;
    return dd_view_contiguous(&rows);
}

const dd_command *dd_group_writer(const dd_group *g, int slot)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->k[i].out.slot == slot) return &g->k[i];
    return NULL;
}

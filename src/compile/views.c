/* SPDX-License-Identifier: Apache-2.0
 *
 * Strided views as algebra: reshaping without moving elements, and merging axes so that kernels see few, long loops.
 * Knows the instruction format and tensor. */
#include "compile/passes.h"

dd_view dd_view_whole(dd_dtype t, dd_shape s)
{
    dd_view v = {.dtype = t, .rank = s.rank};
    int64_t step = 1;
    for (int i = s.rank - 1; i >= 0; i--) {
        v.dim[i] = s.dim[i];
        v.stride[i] = step;
        step *= s.dim[i];
    }
    return v;
}

dd_shape dd_view_shape(const dd_view *v)
{
    dd_shape s = {.rank = v->rank};
    for (int i = 0; i < v->rank; i++) s.dim[i] = v->dim[i];
    return s;
}

static bool mergeable(const dd_view *v, int i)
{
    return v->stride[i] == v->stride[i + 1] * v->dim[i + 1];
}

static void drop_axis(dd_view *v, int axis)
{
    v->rank--;
    for (int i = axis; i < v->rank; i++) {
        v->dim[i] = v->dim[i + 1];
        v->stride[i] = v->stride[i + 1];
    }
}

static unsigned drop_bit(unsigned mask, int axis)
{
    return (mask & ((1u << axis) - 1u)) | (mask >> (axis + 1) << axis);
}

unsigned dd_views_collapse(int n, dd_view *const v[], unsigned reduced)
{
    for (int i = v[0]->rank - 1; i >= 0; i--) {
        if (v[0]->dim[i] != 1 || v[0]->rank == 1) continue;
        for (int k = 0; k < n; k++) drop_axis(v[k], i);
        reduced = drop_bit(reduced, i);
    }
    for (int i = v[0]->rank - 2; i >= 0; i--) {
        bool merge = (reduced >> i & 1u) == (reduced >> (i + 1) & 1u);
        for (int k = 0; k < n && merge; k++) merge = mergeable(v[k], i);
        if (!merge) continue;
        for (int k = 0; k < n; k++) {
            v[k]->dim[i] *= v[k]->dim[i + 1];
            v[k]->stride[i] = v[k]->stride[i + 1];
            drop_axis(v[k], i + 1);
        }
        reduced = drop_bit(reduced, i + 1);
    }
    if (v[0]->rank > 0) return reduced;
    for (int k = 0; k < n; k++) {
        v[k]->rank = 1;
        v[k]->dim[0] = v[k]->stride[0] = 1;
    }
    return 0;
}

bool dd_view_reshape(const dd_view *v, dd_shape s, dd_view *out)
{
    dd_view in = *v;
    dd_view *one[1] = {&in};
    dd_views_collapse(1, one, 0); /* maximal axes: each new axis must lie within one of them */
    *out = dd_view_whole(v->dtype, s);
    int axis = in.rank - 1;
    int64_t left = in.dim[axis], step = in.stride[axis];
    for (int i = s.rank - 1; i >= 0; i--) {
        if (s.dim[i] == 1) continue;
        if (left == 1) {
            if (--axis < 0) return false;
            left = in.dim[axis];
            step = in.stride[axis];
        }
        if (left % s.dim[i]) return false;
        out->stride[i] = step;
        step *= s.dim[i];
        left /= s.dim[i];
    }
    return true;
}

bool dd_view_same(const dd_view *a, const dd_view *b)
{
    if (a->rank != b->rank || a->dtype != b->dtype) return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i]) return false;
        if (a->dim[i] != 1 && a->stride[i] != b->stride[i]) return false;
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Merging and walking of loop nests. Knows views only. */
#include "backend/cpu/cpu_loops.h"

static bool mergeable(const dd_nest *z, int a, int b)
{
    if (z->mark[a] != z->mark[b]) return false;
    for (int k = 0; k < z->nop; k++)
        if (z->stride[k][a] != z->stride[k][b] * z->dim[b]) return false;
    return true;
}

static void move_axis(dd_nest *z, int to, int from)
{
    z->dim[to] = z->dim[from];
    z->mark[to] = z->mark[from];
    for (int k = 0; k < z->nop; k++) z->stride[k][to] = z->stride[k][from];
}

void dd_nest_merge(dd_nest *z)
{
    int n = 0;
    for (int i = 0; i < z->rank; i++) {
        if (z->dim[i] == 1) continue;
        if (n > 0 && mergeable(z, n - 1, i)) {
            const int64_t outer = z->dim[n - 1];
            move_axis(z, n - 1, i);
            z->dim[n - 1] *= outer;
        } else {
            move_axis(z, n++, i);
        }
    }
    z->rank = n;
}

void dd_nest_swap(dd_nest *z, int a, int b)
{
    dd_nest t = *z;
    t.dim[0] = z->dim[a];
    t.mark[0] = z->mark[a];
    for (int k = 0; k < z->nop; k++) t.stride[k][0] = z->stride[k][a];
    move_axis(z, a, b);
    z->dim[b] = t.dim[0];
    z->mark[b] = t.mark[0];
    for (int k = 0; k < z->nop; k++) z->stride[k][b] = t.stride[k][0];
}

int64_t dd_nest_count(const dd_nest *z, int rank)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= z->dim[i];
    return n;
}

dd_cursor dd_cursor_at(const dd_nest *z, int rank, int64_t index)
{
    dd_cursor c = {{0}, {0}};
    for (int i = rank - 1; i >= 0; i--) {
        c.at[i] = index % z->dim[i];
        index /= z->dim[i];
        for (int k = 0; k < z->nop; k++) c.off[k] += c.at[i] * z->stride[k][i];
    }
    return c;
}

void dd_cursor_next(dd_cursor *c, const dd_nest *z, int rank)
{
    for (int i = rank - 1; i >= 0; i--) {
        for (int k = 0; k < z->nop; k++) c->off[k] += z->stride[k][i];
        if (++c->at[i] < z->dim[i]) return;
        for (int k = 0; k < z->nop; k++) c->off[k] -= z->dim[i] * z->stride[k][i];
        c->at[i] = 0;
    }
}

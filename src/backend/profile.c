/* SPDX-License-Identifier: Apache-2.0
 *
 * What launches cost: arithmetic and memory traffic of an instruction by its views, and a table of the time spent in
 * each kind while profiling is on, contractions apart by shape. Knows backend.h and base. */
#include "backend/backend.h"
#include "base/fs.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 128 };

typedef struct entry {
    dd_kind kind;
    int64_t shape[6];
    dd_profile_row row;
} entry;

struct dd_profile {
    int n;
    entry e[MOST_ROWS];
};

static const char *const names[DD_K_COUNT] = {[DD_K_POINTWISE] = "pointwise",
                                              [DD_K_COPY] = "copy",
                                              [DD_K_FILL] = "fill",
                                              [DD_K_IOTA] = "iota",
                                              [DD_K_SUM] = "sum",
                                              [DD_K_SUMMUL] = "sum of products",
                                              [DD_K_MAXR] = "maximum",
                                              [DD_K_ARGMAX] = "argmax",
                                              [DD_K_MATMUL] = "matmul",
                                              [DD_K_CONV] = "conv",
                                              [DD_K_CONV_DX] = "conv_dx",
                                              [DD_K_CONV_DW] = "conv_dw",
                                              [DD_K_SPMM] = "spmm",
                                              [DD_K_SUMPOOL] = "sumpool",
                                              [DD_K_SUMPOOL_T] = "sumpool_t",
                                              [DD_K_POOL_ARGMAX] = "argmax of pool",
                                              [DD_K_PATCHSUM] = "patchsum",
                                              [DD_K_GATHER] = "gather",
                                              [DD_K_SCATTER_ADD] = "scatter_add",
                                              [DD_K_SAMPLE] = "sample",
                                              [DD_K_SAMPLE_T] = "sample_t",
                                              [DD_K_FACTOR] = "factor",
                                              [DD_K_BACKSOLVE] = "backsolve",
                                              [DD_K_LOGDET] = "logdet",
                                              [DD_K_ROWS] = "row group"};

double dd_instr_flop(const dd_instr *in)
{
    const double y = (double)dd_view_count(&in->dst);
    switch (in->kind) {
    case DD_K_MATMUL: return 2 * y * (double)in->src[0].dim[in->attr[0] ? 1 : 2];
    case DD_K_CONV: return 2 * y * (double)dd_view_count(&in->src[1]) / (double)in->src[1].dim[0];
    case DD_K_CONV_DX:
        return 2 * (double)dd_view_count(&in->src[0]) * (double)dd_view_count(&in->src[1]) / (double)in->src[1].dim[0];
    case DD_K_CONV_DW: return 2 * (double)dd_view_count(&in->src[1]) * y / (double)in->dst.dim[0];
    case DD_K_ROWS: {
        double sum = 0;
        for (int64_t m = 0; m < in->attr[2]; m++) sum += dd_instr_flop(in->member[m]);
        return sum;
    }
    default: return 0;
    }
}

/* Operand 0 is dst, 1 + j source j. Elements that differ: repeated ones are read from cache. */
static double operand_bytes(const dd_instr *in, int operand)
{
    const dd_view *v = operand ? &in->src[operand - 1] : &in->dst;
    double n = (double)dd_dtype_size(v->dtype) / (in->half >> operand & 1 ? 2 : 1);
    for (int i = 0; i < v->rank; i++)
        if (v->stride[i] != 0) n *= (double)v->dim[i];
    return n;
}

/* Operand j of member m is the same memory as an operand of an earlier member, or of m before j. */
static bool seen(const dd_instr *group, int64_t m, int j)
{
    const void *p = group->member[m]->in[j];
    for (int64_t i = 0; i <= m; i++)
        for (int k = 0; k < (i == m ? j : group->member[i]->nsrc); k++)
            if (!group->member[i]->buffer[1 + k] && group->member[i]->in[k] == p) return true;
    return false;
}

double dd_instr_bytes(const dd_instr *in)
{
    double n = 0;
    if (in->kind != DD_K_ROWS) {
        for (int j = 0; j <= in->nsrc; j++) n += operand_bytes(in, j);
        return n;
    }
    for (int64_t m = 0; m < in->attr[2]; m++) {
        const dd_instr *k = in->member[m];
        if (!k->buffer[0]) n += operand_bytes(k, 0);
        for (int j = 0; j < k->nsrc; j++)
            if (!k->buffer[1 + j] && !seen(in, m, j)) n += operand_bytes(k, 1 + j);
    }
    return n;
}

/* What tells rows of one kind apart, and the name people read. */
static void identify(const dd_instr *in, int64_t shape[6], char *name, size_t size)
{
    const dd_view *x = &in->src[0], *y = &in->dst;
    memset(shape, 0, 6 * sizeof *shape);
    snprintf(name, size, "%s", names[in->kind]);
    if (in->kind == DD_K_MATMUL) {
        const int64_t s[4] = {y->dim[0], y->dim[1], x->dim[in->attr[0] ? 1 : 2], y->dim[2]};
        memcpy(shape, s, sizeof s);
        snprintf(name, size, "matmul %lldx%lldx%lld", (long long)(s[0] * s[1]), (long long)s[2], (long long)s[3]);
    } else if (dd_is_conv(in->kind)) {
        const dd_view *w = in->kind == DD_K_CONV_DW ? y : &in->src[1];
        const dd_view *image = in->kind == DD_K_CONV_DX ? y : x; /* [n, channels, height, width] */
        const int64_t s[6] = {image->dim[0], w->dim[1], w->dim[0], image->dim[2], image->dim[3], w->dim[2]};
        memcpy(shape, s, sizeof s);
        snprintf(name, size, "%s %lldx%lld %lld to %lld, %lld images", names[in->kind], (long long)s[3],
                 (long long)s[4], (long long)image->dim[1], (long long)s[2], (long long)s[0]);
    }
}

/* The row of an instruction; the last one takes what finds no room. */
static dd_profile_row *row_of(dd_profile *p, const dd_instr *in)
{
    int64_t shape[6];
    char name[sizeof p->e[0].row.name];
    identify(in, shape, name, sizeof name);
    for (int i = 0; i < p->n; i++)
        if (p->e[i].kind == in->kind && memcmp(p->e[i].shape, shape, sizeof shape) == 0) return &p->e[i].row;
    if (p->n == MOST_ROWS) return &p->e[MOST_ROWS - 1].row;
    entry *e = &p->e[p->n++];
    e->kind = in->kind;
    memcpy(e->shape, shape, sizeof shape);
    snprintf(e->row.name, sizeof e->row.name, "%s", p->n == MOST_ROWS ? "everything else" : name);
    return &e->row;
}

dd_status dd_backend_launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    if (!b->profile) return in->launch(b, in, scratch);
    const double start = dd_now();
    const dd_status s = in->launch(b, in, scratch);
    dd_profile_row *r = row_of(b->profile, in);
    r->seconds += dd_now() - start;
    r->runs++;
    r->flop += dd_instr_flop(in);
    r->bytes += dd_instr_bytes(in);
    return s;
}

dd_status dd_backend_profile(dd_backend *b, bool on)
{
    dd_free(b->profile);
    b->profile = NULL;
    if (!on) return DD_OK;
    b->profile = dd_alloc(1, sizeof *b->profile);
    return b->profile ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for a profile");
}

static int slowest_first(const void *a, const void *b)
{
    const dd_profile_row *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

int dd_backend_profile_rows(const dd_backend *b, dd_profile_row *rows, int most)
{
    dd_profile_row all[MOST_ROWS];
    const int n = b->profile ? b->profile->n : 0;
    for (int i = 0; i < n; i++) all[i] = b->profile->e[i].row;
    qsort(all, (size_t)n, sizeof *all, slowest_first);
    for (int i = 0; i < n && i < most; i++) rows[i] = all[i];
    return n < most ? n : most;
}

double dd_backend_peak(dd_backend *b)
{
    return b->peak ? b->peak(b) : 0;
}

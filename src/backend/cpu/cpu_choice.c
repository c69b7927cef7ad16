/* SPDX-License-Identifier: Apache-2.0
 *
 * Our kernel or oneDNN's for a convolution that both can compute: by rule ours, or, where the backend tunes, whichever
 * was faster on this machine when it was measured. A choice must not change while programs live, so what is known is
 * never measured again. */
#include "backend/cpu/cpu_internal.h"

#include "backend/geometry.h"
#include "base/fs.h"
#include "base/memory.h"
#include "base/workspace.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RUNS = 5, MOST_IMAGES = 32, SLOWER = 4, DOUBTS = 8 };
/* Ours lies in blocks of channels with its neighbours, and noise must not decide: theirs has to be clearly faster. */
static const double margin = 0.8;

/* The measured number of images: more take longer alike. */
static int64_t images_of(int64_t n)
{
    int64_t k = 1;
    while (k < n && k < MOST_IMAGES) k *= 2;
    return k;
}

static void describe(const dd_backend *b, const dd_instr *in, dd_tune_row *row)
{
    static const char *const pass[3] = {"conv", "conv_dx", "conv_dw"};
    const dd_conv_geo g = dd_conv_geo_of(in);
    snprintf(row->shape, sizeof row->shape, "%s %lldx%lldx%lldx%lld to %lld, %lldx%lld pad %lld,%lld, threads %d",
             pass[in->kind - DD_K_CONV], (long long)images_of(g.n), (long long)g.c, (long long)g.h, (long long)g.w,
             (long long)g.o, (long long)g.r, (long long)g.s, (long long)g.ph, (long long)g.pw, b->threads);
}

static size_t bytes_of(const dd_view *v)
{
    return (size_t)dd_view_count(v) * sizeof(float);
}

/* Whether memory of so many bytes each may be taken. */
static bool fits(const dd_backend *b, const size_t bytes[4])
{
    size_t sum = 0;
    for (int i = 0; i < 4; i++) sum += dd_workspace_size(bytes[i]);
    return !b->limit || dd_memory_held() + DD_MEMORY_REST + (int64_t)sum <= b->limit;
}

/* The fastest of some runs of a prepared instruction, of one if that took more than `enough`; < 0: a run failed. */
static double fastest(dd_backend *b, const dd_instr *in, void *scratch, double enough)
{
    double best = -1;
    for (int r = 0; r <= RUNS; r++) {
        const double start = dd_now();
        if (in->launch(b, in, scratch) != DD_OK) return -1;
        const double took = dd_now() - start;
        if (took > enough) return took;
        if (r > 0 && (best < 0 || took < best)) best = took; /* the first touches memory */
    }
    return best;
}

/* Prepared by `library` or by ours, with operands in fresh memory; ours in blocks where it can be. < 0: it could
 * not be, or not below the limit of memory. */
static double measure(dd_backend *b, dd_instr in, bool library, double enough)
{
    dd_workspace memory[4] = {{0}};
    in.state = NULL;
    in.scratch = 0;
    in.blocked = in.half = 0;
    if (!library) in.blocked = dd_cpu_conv_shape_may_block(&in);
    dd_cpu_threads(b);
    const bool ready = library ? dd_cpu_onednn_prepare(b, &in) == DD_OK
                               : dd_cpu_conv_few_prepare(b, &in) || dd_cpu_winograd_prepare(b, &in);
    double took = -1;
    const size_t bytes[4] = {bytes_of(&in.dst), bytes_of(&in.src[0]), bytes_of(&in.src[1]), in.scratch + sizeof(float)};
    bool ok = ready && fits(b, bytes);
    for (int i = 0; i < 4 && ok; i++) ok = dd_workspace_init(&memory[i], bytes[i]) == DD_OK;
    if (ok && library && !in.state) { /* oneDNN has none, and the reference kernel is slow */
        took = DBL_MAX;
    } else if (ok) {
        in.out = memory[0].p;
        for (int k = 0; k < 2; k++) {
            float *x = memory[1 + k].p;
            for (int64_t i = 0; i < dd_view_count(&in.src[k]); i++) x[i] = (float)(i % 7) * 0.25f - 0.75f;
            in.in[k] = x;
        }
        took = fastest(b, &in, memory[3].p, enough);
    }
    for (int i = 0; i < 4; i++) dd_workspace_fini(&memory[i]);
    if (in.state) b->release(b, &in);
    return took;
}

/* Sets the number of images of an instruction that stands apart. */
static dd_instr with_images(dd_instr in, int64_t n)
{
    if (in.kind != DD_K_CONV_DW) in.dst.dim[0] = n;
    in.src[0].dim[0] = n;
    if (in.kind == DD_K_CONV_DW) in.src[1].dim[0] = n;
    in.nsrc = 2; /* the bias costs nothing */
    in.launch = dd_ref_kernel(&in);
    return in;
}

bool dd_cpu_prefers_library(dd_backend *b, const dd_instr *in)
{
    dd_tune_row row;
    if (!b->tuning) return false;
    describe(b, in, &row);
    if (!dd_tuning_find(b->tuning, row.shape, &row)) {
        const dd_instr apart = with_images(*in, images_of(dd_conv_geo_of(in).n));
        if (dd_tuning_full(b->tuning)) return false;
        row.ours = measure(b, apart, false, DBL_MAX);
        row.theirs = measure(b, apart, true, row.ours > 0 ? SLOWER * row.ours : DBL_MAX);
        for (int i = 0; i < DOUBTS && row.ours > 0 && row.theirs > 0 && row.theirs < margin * row.ours; i++) {
            row.ours = fmin(row.ours, measure(b, apart, false, DBL_MAX)); /* another process may have had the cores */
            row.theirs = fmin(row.theirs, measure(b, apart, true, DBL_MAX));
        }
        const bool lasting = row.ours > 0 && row.theirs > 0;
        if (row.ours <= 0 || row.theirs <= 0 || row.theirs == DBL_MAX) row.ours = row.theirs = 1; /* known: ours */
        dd_tuning_add(b->tuning, &row, lasting);
        if (!dd_tuning_find(b->tuning, row.shape, &row)) return false; /* what another process found first counts */
    }
    return row.theirs < margin * row.ours;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Judges a graph: the cpu backend with and without row groups and blocks of channels, and the reference, give the same
 * results. Included by the test programs of the compiler only, so its functions are static; each program uses all of
 * them. */
#ifndef ATTAR_TEST_JUDGE_H
#define ATTAR_TEST_JUDGE_H
#include "attar/program.h"
#include "attar/random.h"
#include "base/memory.h"
#include "compile/compile.h"
#include "exec/program_internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 40 };

typedef struct tensors {
    int n;
    char name[MOST][8];
    dd_tensor t[MOST];
    bool output[MOST];
    bool edge; /* infinities and NaN are results, too */
} tensors;

static void ok(dd_status s)
{
    if (s != DD_OK) fail_msg("%s", dd_last_error());
}

static dd_tensor *add(tensors *v, const char *name, dd_dtype t, dd_shape s, bool output)
{
    const int i = v->n++;
    snprintf(v->name[i], sizeof v->name[i], "%s", name);
    v->output[i] = output;
    ok(dd_tensor_init(&v->t[i], t, s));
    return &v->t[i];
}

static dd_val input(dd_graph *g, tensors *v, const char *name, dd_dtype t, dd_shape s, dd_key key)
{
    dd_tensor *x = add(v, name, t, s, false);
    for (int64_t i = 0; i < dd_shape_count(s); i++) {
        const double u = 0.25 + dd_key_uniform(dd_key_at(key, name, 0), (uint64_t)i);
        if (t == DD_F32)
            ((float *)x->data)[i] = (float)u;
        else
            ((double *)x->data)[i] = u;
    }
    return dd_input(g, name, t, s);
}

static void output(dd_graph *g, tensors *v, const char *name, dd_val y)
{
    add(v, name, dd_dtype_of(g, y), dd_shape_of(g, y), true);
    dd_output(g, name, y);
}

static double element(const dd_tensor *t, int64_t i)
{
    return t->dtype == DD_F32 ? (double)((float *)t->data)[i] : ((double *)t->data)[i];
}

/* Runs the graph twice and hands back its outputs one behind the other; inputs that it wrote are put back. `stats` may
 * be NULL. */
static double *run(const dd_graph *g, tensors *v, dd_backend *b, unsigned leave_out, int64_t *n,
                   dd_program_stats *stats)
{
    dd_program *p = NULL;
    double *y = NULL;
    *n = 0;
    for (int i = 0; i < v->n; i++)
        if (v->output[i]) *n += dd_shape_count(v->t[i].shape);
    y = dd_alloc((size_t)*n + 1, sizeof *y);
    assert_non_null(y);
    dd_tensor kept[MOST] = {0};
    for (int i = 0; i < v->n; i++) {
        ok(dd_tensor_init(&kept[i], v->t[i].dtype, v->t[i].shape));
        ok(dd_tensor_copy(&kept[i], &v->t[i]));
    }
    ok(dd_compile_with(&p, g, b, leave_out));
    for (int i = 0; i < v->n; i++) ok(dd_bind(p, v->name[i], &v->t[i]));
    ok(dd_exec(p));
    ok(dd_exec(p));
    int64_t at = 0;
    for (int i = 0; i < v->n; i++)
        for (int64_t k = 0; v->output[i] && k < dd_shape_count(v->t[i].shape); k++) y[at++] = element(&v->t[i], k);
    for (int i = 0; i < v->n; i++) {
        if (!v->output[i]) ok(dd_tensor_copy(&v->t[i], &kept[i]));
        dd_tensor_fini(&kept[i]);
    }
    if (stats) *stats = dd_program_statistics(p);
    dd_program_free(p);
    return y;
}

static void compare(const double *a, const double *b, int64_t n, double tolerance, bool edge)
{
    for (int64_t i = 0; i < n; i++)
        if (!(edge && (a[i] == b[i] || (isnan(a[i]) && isnan(b[i])))) &&
            !(fabs(a[i] - b[i]) <= tolerance * (1 + fabs(b[i]))))
            fail_msg("element %lld: %.9g without row groups, without blocks or by the reference, %.9g with",
                     (long long)i, b[i], a[i]);
}

static void free_all(tensors *v)
{
    for (int i = 0; i < v->n; i++) dd_tensor_fini(&v->t[i]);
}

/* Every value that has no name is read. */
static void nothing_is_unread(const dd_graph *g, dd_backend *b)
{
    dd_compiled c;
    ok(dd_compile_graph(&c, g, b, 0));
    int *reads = dd_alloc(c.nslot, sizeof *reads);
    assert_non_null(reads);
    for (size_t i = 0; i < c.nstep; i++)
        for (int j = 0; j < c.step[i].in.nsrc; j++) reads[c.step[i].src[j].slot]++;
    for (size_t i = 0; i < c.nstep; i++)
        if (c.step[i].in.kind != DD_K_ROWS && c.slot[c.step[i].out.slot].kind < DD_SLOT_INPUT)
            assert_int_not_equal(reads[c.step[i].out.slot], 0);
    dd_free(reads);
    dd_compiled_free(&c);
}

static dd_program_stats judge(const dd_graph *g, tensors *v, double tolerance, int64_t *groups)
{
    dd_backend *cpu = NULL, *ref = NULL;
    dd_program_stats with, without, plain;
    int64_t n;
    ok(dd_graph_status(g));
    ok(dd_backend_open(&cpu, "cpu", 2));
    ok(dd_backend_open(&ref, "ref", 1));
    nothing_is_unread(g, cpu);
    double *a = run(g, v, cpu, 0, &n, &with), *b = run(g, v, cpu, DD_NO_FUSE, &n, &without);
    double *c = run(g, v, ref, 0, &n, NULL), *d = run(g, v, cpu, DD_NO_LAYOUT, &n, &plain);
    compare(a, d, n, tolerance, v->edge);
    compare(a, b, n, tolerance, v->edge);
    compare(a, c, n, tolerance, v->edge);
    *groups = with.groups;
    assert_int_equal(without.groups, 0);
    assert_int_equal(without.blocked, 0);
    assert_int_equal(plain.blocked, 0);
    dd_free(a);
    dd_free(b);
    dd_free(c);
    dd_free(d);
    dd_backend_close(cpu);
    dd_backend_close(ref);
    return with;
}

/* A library call between groups, or kernels of our own. out: channels, 0: as many as come in. */
static dd_val convolved(dd_graph *g, dd_val x, dd_dtype t, int64_t out)
{
    const dd_conv_attr a = {{1, 1}, {1, 1}, {1, 1}, 1};
    const int64_t c = dd_shape_of(g, x).dim[1];
    if (out == 0) out = c;
    const dd_val w = dd_full(g, t, DD_SHAPE(out, c, 3, 3), 0.1 / (double)c);
    return dd_conv(g, x, dd_mul(g, w, dd_addc(g, dd_cos(g, dd_iota(g, t, DD_SHAPE(out, c, 3, 3), 3)), 1.5)), a);
}

static bool has_vectors(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of every op case: the reference backend against the definition, every backend and type against the reference
 * in double, one thread against two, and a second run against the first, bit for bit. */
#include "op_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four above */
#include <cmocka.h>

/* f32: 60 roundings of 2^-24 in a row, which covers sums of about 100 terms and the library's transcendentals; f64
 * the same in its own unit. Solves lose another digit to the condition number. */
#define TOL_F32 4e-6
#define TOL_F64 1e-14
#define CONDITION 10
#define TOL_BITS 1e-300 /* the same bits or not */

static dd_backend *open_backend(const char *name, int threads)
{
    dd_backend *b = NULL;
    if (dd_backend_open(&b, name, threads) != DD_OK) fail_msg("%s: %s", name, dd_last_error());
    return b;
}

static double tolerance(const op_case *c, dd_dtype t)
{
    if (c->flags & OP_ROUNDS) return TOL_F32;
    double k = c->op == DD_OP_SPDSOLVE || c->op == DD_OP_LOGDET ? CONDITION : 1;
    return k * (t == DD_F32 ? TOL_F32 : TOL_F64);
}

static void ref_matches_definition(void **state)
{
    op_score score = {0};
    dd_backend *ref = open_backend("ref", 1);
    (void)state;
    for (int i = 0; i < op_case_count(); i++) {
        const op_case *c = op_case_at(i);
        op_prog q;
        dd_tensor x[OP_MAX_IN] = {0}, want = {0};
        const double *in[OP_MAX_IN] = {0};
        double err = (double)INFINITY;
        if (!c->direct) continue;
        if (op_prog_open(&q, c, 0, ref, DD_F64) && op_prog_run(&q)) {
            for (int k = 0; k < c->nin; k++) {
                assert_int_equal(dd_tensor_init(&x[k], DD_F64, c->in[k].shape), DD_OK);
                op_fill(&c->in[k], k, &x[k]);
                in[k] = dd_f64(&x[k]);
            }
            assert_int_equal(dd_tensor_init(&want, DD_F64, q.y.shape), DD_OK);
            c->direct(c, q.y.shape, in, dd_f64(&want));
            err = op_error(&q.y, &want);
        }
        op_judge(&score, c->name, "ref f64 against the definition", err, tolerance(c, DD_F64));
        for (int k = 0; k < c->nin; k++) dd_tensor_fini(&x[k]);
        dd_tensor_fini(&want);
        op_prog_close(&q);
    }
    dd_backend_close(ref);
    op_summary(&score, "values: ref f64 = definition");
    assert_int_equal(score.failed, 0);
}

/* One case on one backend against the reference in double. */
static void compare(op_score *score, const op_case *c, dd_backend *ref, dd_backend *b, dd_dtype t, const char *what)
{
    op_prog want, got;
    double err = (double)INFINITY;
    bool ok = op_prog_open(&want, c, 0, ref, DD_F64) && op_prog_run(&want);
    bool ok2 = op_prog_open(&got, c, 0, b, t) && op_prog_run(&got);
    if (ok && ok2) err = op_error(&got.y, &want.y);
    op_judge(score, c->name, what, err, tolerance(c, t));
    op_prog_close(&want);
    op_prog_close(&got);
}

static void backends_match_ref(void **state)
{
    static const struct {
        const char *backend, *what;
        dd_dtype t;
    } run[] = {{"ref", "values: ref f32 = ref f64", DD_F32},
               {"cpu", "values: cpu f32 = ref f64", DD_F32},
               {"cpu", "values: cpu f64 = ref f64", DD_F64}};
    dd_backend *ref = open_backend("ref", 1);
    int failed = 0;
    (void)state;
    for (size_t r = 0; r < DD_LEN(run); r++) {
        op_score score = {0};
        dd_backend *b = open_backend(run[r].backend, 2);
        for (int i = 0; i < op_case_count(); i++) compare(&score, op_case_at(i), ref, b, run[r].t, run[r].what);
        op_summary(&score, run[r].what);
        failed += score.failed;
        dd_backend_close(b);
    }
    dd_backend_close(ref);
    assert_int_equal(failed, 0);
}

static bool same_bytes(const dd_tensor *a, const dd_tensor *b)
{
    return dd_tensor_bytes(a) == dd_tensor_bytes(b) &&
           (dd_tensor_bytes(a) == 0 || memcmp(a->data, b->data, dd_tensor_bytes(a)) == 0);
}

/* Where the bits may depend on the number of threads, because a library splits the work: oneDNN's weight gradient (f32
 * only) sums over images per thread, and OpenBLAS cuts products that are left to it by thread. */
static bool library_splits(const op_case *c, dd_dtype t)
{
    if (c->op == DD_OP_MATMUL) return (c->flags & OP_LARGE) != 0;
    return t == DD_F32 && (c->op == DD_OP_CONV || c->op == DD_OP_CONV_DX || c->op == DD_OP_CONV_DW);
}

/* Values, gradients and second derivatives of two programs: 0 for the same bits, 1 for others. For `close`, the
 * relative error instead. */
static double difference(const op_prog *a, const op_prog *b, bool close)
{
    bool same = same_bytes(&a->y, &b->y) && same_bytes(&a->s, &b->s);
    double err = op_error(&a->y, &b->y);
    for (int i = 0; i < a->c->nin; i++) {
        same = same && same_bytes(&a->g[i], &b->g[i]) && same_bytes(&a->h[i], &b->h[i]);
        if (!op_is_diff(a->c, i)) continue;
        err = fmax(err, fmax(op_error(&a->g[i], &b->g[i]), op_error(&a->h[i], &b->h[i])));
    }
    return same ? 0 : close ? err : 1;
}

static double run_pair(const op_case *c, dd_backend *one, dd_backend *two, dd_dtype t, bool close)
{
    op_prog a, b;
    bool ok = op_prog_open(&a, c, 2, one, t) && op_prog_run(&a);
    bool ok2 = op_prog_open(&b, c, 2, two, t) && op_prog_run(&b);
    double err = ok && ok2 ? difference(&a, &b, close) : (double)INFINITY;
    op_prog_close(&a);
    op_prog_close(&b);
    return err;
}

static void one_thread_equals_two(void **state)
{
    static const dd_dtype types[] = {DD_F32, DD_F64};
    op_score score = {0};
    dd_backend *one = open_backend("cpu", 1), *two = open_backend("cpu", 2);
    (void)state;
    for (int i = 0; i < op_case_count(); i++)
        for (size_t k = 0; k < DD_LEN(types); k++) {
            const op_case *c = op_case_at(i);
            bool close = library_splits(c, types[k]);
            double tol = !close ? TOL_BITS : types[k] == DD_F32 ? TOL_F32 : TOL_F64;
            op_judge(&score, c->name, types[k] == DD_F32 ? "cpu f32, 1 and 2 threads" : "cpu f64, 1 and 2 threads",
                     run_pair(c, one, two, types[k], close), tol);
            op_judge(&score, c->name, "cpu with 2 threads, twice", run_pair(c, two, two, types[k], false), TOL_BITS);
        }
    dd_backend_close(one);
    dd_backend_close(two);
    op_summary(
        &score,
        "threads: cpu with 1 = cpu with 2 (same bits outside library splits), a second run = the first (same bits)");
    assert_int_equal(score.failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ref_matches_definition), cmocka_unit_test(backends_match_ref),
                                       cmocka_unit_test(one_thread_equals_two)};
    return cmocka_run_group_tests_name("op values", tests, NULL, NULL);
}

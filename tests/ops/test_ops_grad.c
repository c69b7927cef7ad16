/* SPDX-License-Identifier: Apache-2.0
 *
 * First and second derivatives of every op case on the reference backend against central differences in double, and
 * the other backends and types against the reference. */
#include "op_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka needs the three above */
#include <cmocka.h>

/* Central differences err by h^2/6 f''' + 2^-53 |f| / h: about 1e-11 and 1e-10 for h = 1e-5 and f of order 10. */
#define STEP 1e-5
#define TOL_DIFF 1e-6
/* A derivative of order two is a sum of some hundred products, each a few f32 roundings off. */
#define TOL_F32 5e-5
#define TOL_F64 1e-12

static dd_backend *open_backend(const char *name, int threads)
{
    dd_backend *b = NULL;
    if (dd_backend_open(&b, name, threads) != DD_OK) fail_msg("%s: %s", name, dd_last_error());
    return b;
}

/* Ops that round their input to f32 need a step that the rounding does not drown; they are linear, so any will do. */
static double step_of(const op_case *c)
{
    return c->flags & OP_ROUNDS ? 0.5 : STEP;
}

/* d(loss)/d(in[i][k]) by a central difference */
static double slope(op_prog *q, int i, int64_t k)
{
    double x = op_get(&q->in[i], k), h = step_of(q->c), up, down;
    op_set(&q->in[i], k, x + h);
    bool ok = op_prog_run(q);
    up = op_get(&q->loss, 0);
    op_set(&q->in[i], k, x - h);
    ok = op_prog_run(q) && ok;
    down = op_get(&q->loss, 0);
    op_set(&q->in[i], k, x);
    return ok ? (up - down) / (2 * h) : (double)INFINITY;
}

static double first_error(op_prog *q)
{
    double worst = 0;
    for (int i = 0; i < q->c->nin; i++) {
        dd_tensor want = {0};
        if (!op_is_diff(q->c, i)) continue;
        if (dd_tensor_init(&want, DD_F64, q->c->in[i].shape) != DD_OK) return (double)INFINITY;
        for (int64_t k = 0; k < dd_shape_count(want.shape); k++) op_set(&want, k, slope(q, i, k));
        if (!op_prog_run(q)) worst = (double)INFINITY;
        worst = fmax(worst, op_error(&q->g[i], &want));
        dd_tensor_fini(&want);
    }
    return worst;
}

static void first_derivatives(void **state)
{
    op_score score = {0};
    dd_backend *ref = open_backend("ref", 1);
    (void)state;
    for (int i = 0; i < op_case_count(); i++) {
        const op_case *c = op_case_at(i);
        op_prog q;
        if (c->flags & (OP_NO_DIFF | OP_LARGE)) continue;
        double err = op_prog_open(&q, c, 1, ref, DD_F64) ? first_error(&q) : (double)INFINITY;
        op_judge(&score, c->name, "first derivative", err, TOL_DIFF);
        op_prog_close(&q);
    }
    dd_backend_close(ref);
    op_summary(&score, "first derivatives: dd_grad = central differences");
    assert_int_equal(score.failed, 0);
}

/* Moves every differentiated input by h along its v and runs. */
static bool run_shifted(op_prog *q, double h)
{
    for (int i = 0; i < q->c->nin; i++)
        for (int64_t k = 0; op_is_diff(q->c, i) && k < dd_shape_count(q->in[i].shape); k++)
            op_set(&q->in[i], k, op_get(&q->in[i], k) + h * op_get(&q->v[i], k));
    return op_prog_run(q);
}

/* h = d<v, g>/dx is the Hessian times v, the change of the gradient along v. Also <v, h> against the change of s. */
static double second_error(op_prog *q)
{
    double worst = 0, h = step_of(q->c);
    dd_tensor keep[OP_MAX_IN] = {0};
    bool ok = true;
    for (int i = 0; i < q->c->nin; i++)
        ok = ok && (!op_is_diff(q->c, i) || dd_tensor_init(&keep[i], DD_F64, q->in[i].shape) == DD_OK);
    ok = ok && run_shifted(q, h);
    for (int i = 0; i < q->c->nin; i++)
        if (op_is_diff(q->c, i)) ok = ok && dd_tensor_copy(&keep[i], &q->g[i]) == DD_OK;
    ok = ok && run_shifted(q, -2 * h);
    for (int i = 0; i < q->c->nin; i++)
        for (int64_t k = 0; op_is_diff(q->c, i) && k < dd_shape_count(keep[i].shape); k++)
            op_set(&keep[i], k, (op_get(&keep[i], k) - op_get(&q->g[i], k)) / (2 * h));
    ok = ok && run_shifted(q, h);
    for (int i = 0; i < q->c->nin; i++) {
        if (op_is_diff(q->c, i)) worst = fmax(worst, op_error(&q->h[i], &keep[i]));
        dd_tensor_fini(&keep[i]);
    }
    return ok ? worst : (double)INFINITY;
}

static void second_derivatives(void **state)
{
    op_score score = {0};
    dd_backend *ref = open_backend("ref", 1);
    (void)state;
    for (int i = 0; i < op_case_count(); i++) {
        const op_case *c = op_case_at(i);
        op_prog q;
        if (c->flags & (OP_NO_DIFF | OP_ONE_KINK | OP_LARGE)) continue;
        double err = op_prog_open(&q, c, 2, ref, DD_F64) ? second_error(&q) : (double)INFINITY;
        op_judge(&score, c->name, "second derivative", err, TOL_DIFF);
        op_prog_close(&q);
    }
    dd_backend_close(ref);
    op_summary(&score, "second derivatives: dd_grad of <v, grad> = central differences of grad");
    assert_int_equal(score.failed, 0);
}

static double compare(const op_case *c, dd_backend *ref, dd_backend *b, dd_dtype t)
{
    op_prog want, got;
    double err = 0;
    bool ok = op_prog_open(&want, c, 2, ref, DD_F64) && op_prog_run(&want);
    bool ok2 = op_prog_open(&got, c, 2, b, t) && op_prog_run(&got);
    for (int i = 0; ok && ok2 && i < c->nin; i++) {
        if (!op_is_diff(c, i)) continue;
        err = fmax(err, op_error(&got.g[i], &want.g[i]));
        err = fmax(err, op_error(&got.h[i], &want.h[i]));
    }
    op_prog_close(&want);
    op_prog_close(&got);
    return ok && ok2 ? err : (double)INFINITY;
}

static void backends_match_ref(void **state)
{
    static const struct {
        const char *backend, *what;
        dd_dtype t;
        double tol;
    } run[] = {{"ref", "derivatives: ref f32 = ref f64", DD_F32, TOL_F32},
               {"cpu", "derivatives: cpu f32 = ref f64", DD_F32, TOL_F32},
               {"cpu", "derivatives: cpu f64 = ref f64", DD_F64, TOL_F64}};
    dd_backend *ref = open_backend("ref", 1);
    int failed = 0;
    (void)state;
    for (size_t r = 0; r < DD_LEN(run); r++) {
        op_score score = {0};
        dd_backend *b = open_backend(run[r].backend, 2);
        for (int i = 0; i < op_case_count(); i++) {
            const op_case *c = op_case_at(i);
            double tol = c->flags & OP_ROUNDS ? TOL_F32 : run[r].tol;
            op_judge(&score, c->name, run[r].what, compare(c, ref, b, run[r].t), tol);
        }
        op_summary(&score, run[r].what);
        failed += score.failed;
        dd_backend_close(b);
    }
    dd_backend_close(ref);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(first_derivatives), cmocka_unit_test(second_derivatives),
                                       cmocka_unit_test(backends_match_ref)};
    return cmocka_run_group_tests_name("op derivatives", tests, NULL, NULL);
}

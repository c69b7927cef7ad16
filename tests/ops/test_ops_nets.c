/* SPDX-License-Identifier: Apache-2.0
 *
 * Derivatives of whole networks, where rules meet each other: order three through a convolutional block, and gradient
 * matching (order two) through two blocks behind a resampling, against central differences in double. */
#include "op_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four above */
#include <cmocka.h>

/* Central differences with h = 1e-5 err by about h^2 = 1e-10 times higher derivatives, plus rounding of 1e-10. */
#define STEP 1e-5
#define TOL_DIFF 1e-6

typedef struct var {
    const char *name;
    op_domain domain;
    dd_shape shape;
    dd_val v;
    dd_tensor t;
    bool output;
} var;

typedef struct rig {
    dd_graph *g;
    dd_program *p;
    int n;
    var var[32];
} rig;

static dd_val in(rig *r, const char *name, op_domain domain, dd_shape s)
{
    var *v = &r->var[r->n++];
    *v = (var){.name = name, .domain = domain, .shape = s, .v = dd_input(r->g, name, DD_F64, s)};
    return v->v;
}

static void out(rig *r, const char *name, dd_val val)
{
    r->var[r->n++] = (var){.name = name, .shape = dd_shape_of(r->g, val), .v = val, .output = true};
    dd_output(r->g, name, val);
}

static dd_tensor *get(rig *r, const char *name)
{
    for (int i = 0; i < r->n; i++)
        if (strcmp(r->var[i].name, name) == 0) return &r->var[i].t;
    fail_msg("no tensor %s", name);
    return NULL;
}

static void must(dd_status s)
{
    if (s != DD_OK) fail_msg("%s", dd_last_error());
}

static void rig_compile(rig *r, dd_backend *b)
{
    must(dd_graph_status(r->g));
    must(dd_graph_verify(r->g));
    must(dd_compile(&r->p, r->g, b));
    for (int i = 0; i < r->n; i++) {
        var *v = &r->var[i];
        op_input spec = {v->domain, v->shape, 0};
        must(dd_tensor_init(&v->t, DD_F64, v->shape));
        if (!v->output) op_fill(&spec, 40 + i, &v->t);
        must(dd_bind(r->p, v->name, &v->t));
    }
}

static void rig_free(rig *r)
{
    for (int i = 0; i < r->n; i++) dd_tensor_fini(&r->var[i].t);
    dd_program_free(r->p);
    dd_graph_free(r->g);
}

static dd_val instance_norm(dd_graph *g, dd_val x, dd_val scale, dd_val shift)
{
    return dd_add(g, dd_mul(g, dd_normalize(g, x, 12, 1e-5), scale), shift);
}

/* conv 3x3, instance norm, swish, average pooling 2x2 */
static dd_val block(dd_graph *g, dd_val x, dd_val w, dd_val scale, dd_val shift)
{
    dd_conv_attr conv = {{1, 1}, {1, 1}, {1, 1}, 1};
    dd_pool_attr pool = {{2, 2}, {2, 2}, {0, 0}};
    return dd_avgpool(g, dd_swish(g, instance_norm(g, dd_conv(g, x, w, conv), scale, shift)), pool);
}

static dd_val head(dd_graph *g, dd_val f, dd_val w)
{
    dd_shape s = dd_shape_of(g, f);
    return dd_matmul(g, dd_reshape(g, f, DD_SHAPE(s.dim[0], s.dim[1] * s.dim[2] * s.dim[3])), w, false, true);
}

static dd_val inner_all(dd_graph *g, int n, const dd_val *a, const dd_val *b)
{
    dd_val s = dd_const(g, DD_F64, 0);
    for (int i = 0; i < n; i++) s = dd_add(g, s, dd_dot(g, a[i], b[i]));
    return s;
}

#define PARAMS 5
static const char *const param_name[PARAMS] = {"x", "w", "scale", "shift", "linear"};
static const char *const v_name[PARAMS] = {"v_x", "v_w", "v_scale", "v_shift", "v_linear"};
static const char *const d1_name[PARAMS] = {"d1_x", "d1_w", "d1_scale", "d1_shift", "d1_linear"};
static const char *const d2_name[PARAMS] = {"d2_x", "d2_w", "d2_scale", "d2_shift", "d2_linear"};
static const char *const d3_name[PARAMS] = {"d3_x", "d3_w", "d3_scale", "d3_shift", "d3_linear"};

/* Loss of one block; d1 = its gradient, d2 = d<v,d1>, d3 = d<v,d2>, all five tensors at once. */
static void build_block(rig *r)
{
    static const dd_shape shape[PARAMS] = {
        {4, {2, 2, 4, 4}}, {4, {3, 2, 3, 3}}, {3, {3, 1, 1}}, {3, {3, 1, 1}}, {2, {4, 12}}};
    static const char *const *const names[3] = {d1_name, d2_name, d3_name};
    dd_graph *g = r->g;
    dd_val p[PARAMS], v[PARAMS], d[PARAMS];
    for (int i = 0; i < PARAMS; i++) p[i] = in(r, param_name[i], i == 2 ? OP_POS : OP_UNIT, shape[i]);
    for (int i = 0; i < PARAMS; i++) v[i] = in(r, v_name[i], OP_UNIT, shape[i]);
    dd_val target = in(r, "target", OP_POS, DD_SHAPE(2, 4));
    dd_val s = dd_xent(g, head(g, block(g, p[0], p[1], p[2], p[3]), p[4]), target);
    for (int order = 0; order < 3; order++) {
        dd_grad(g, s, PARAMS, p, d);
        for (int i = 0; i < PARAMS; i++) out(r, names[order][i], d[i]);
        s = inner_all(g, PARAMS, v, d);
    }
}

static void shift_all(rig *r, double h)
{
    for (int i = 0; i < PARAMS; i++) {
        dd_tensor *p = get(r, param_name[i]), *v = get(r, v_name[i]);
        for (int64_t k = 0; k < dd_shape_count(p->shape); k++) op_set(p, k, op_get(p, k) + h * op_get(v, k));
    }
    must(dd_exec(r->p));
}

/* The derivative `high` is the change along v of the derivative `low`. */
static void judge_order(rig *r, op_score *score, const char *const *low, const char *const *high, const char *what)
{
    dd_tensor keep[PARAMS] = {0};
    shift_all(r, STEP);
    for (int i = 0; i < PARAMS; i++) {
        must(dd_tensor_init(&keep[i], DD_F64, get(r, low[i])->shape));
        must(dd_tensor_copy(&keep[i], get(r, low[i])));
    }
    shift_all(r, -2 * STEP);
    for (int i = 0; i < PARAMS; i++)
        for (int64_t k = 0; k < dd_shape_count(keep[i].shape); k++)
            op_set(&keep[i], k, (op_get(&keep[i], k) - op_get(get(r, low[i]), k)) / (2 * STEP));
    shift_all(r, STEP);
    for (int i = 0; i < PARAMS; i++) {
        op_judge(score, high[i], what, op_error(get(r, high[i]), &keep[i]), TOL_DIFF);
        dd_tensor_fini(&keep[i]);
    }
}

static void third_order_of_a_block(void **state)
{
    static const char *const backend[] = {"ref", "cpu"};
    int failed = 0;
    (void)state;
    for (size_t k = 0; k < DD_LEN(backend); k++) {
        rig r = {.g = dd_graph_new()};
        dd_backend *b = NULL;
        op_score two = {0}, three = {0};
        must(dd_backend_open(&b, backend[k], 2));
        build_block(&r);
        rig_compile(&r, b);
        judge_order(&r, &two, d1_name, d2_name, "second order of a ConvNet block");
        judge_order(&r, &three, d2_name, d3_name, "third order of a ConvNet block");
        printf("%s ", backend[k]);
        op_summary(&two, "block, order two");
        printf("%s ", backend[k]);
        op_summary(&three, "block, order three");
        failed += two.failed + three.failed;
        rig_free(&r);
        dd_backend_close(b);
    }
    assert_int_equal(failed, 0);
}

#define LAYERS 7
/* sum over layers of 1 - cos(target, gradient), the gradient being that of a two-block ConvNet on sampled pixels */
static void build_matching(rig *r)
{
    static const dd_shape shape[LAYERS] = {{4, {3, 1, 3, 3}}, {3, {3, 1, 1}}, {3, {3, 1, 1}}, {4, {2, 3, 3, 3}},
                                           {3, {2, 1, 1}},    {3, {2, 1, 1}}, {2, {3, 8}}};
    static const char *const theta_name[LAYERS] = {"w1", "s1", "b1", "w2", "s2", "b2", "w3"};
    static const char *const real_name[LAYERS] = {"r_w1", "r_s1", "r_b1", "r_w2", "r_s2", "r_b2", "r_w3"};
    dd_graph *g = r->g;
    dd_val x = in(r, "x", OP_NORMAL, DD_SHAPE(2, 1, 8, 8)), a = in(r, "map", OP_AFFINE, DD_SHAPE(2, 2, 3)), grad;
    dd_val target = in(r, "target", OP_POS, DD_SHAPE(2, 3)), t[LAYERS], real[LAYERS], d[LAYERS];
    for (int i = 0; i < LAYERS; i++) t[i] = in(r, theta_name[i], i == 1 || i == 4 ? OP_POS : OP_UNIT, shape[i]);
    for (int i = 0; i < LAYERS; i++) real[i] = in(r, real_name[i], OP_NORMAL, shape[i]);
    dd_val f = block(g, dd_sample(g, x, a, 8, 8), t[0], t[1], t[2]);
    dd_val loss = dd_xent(g, head(g, block(g, f, t[3], t[4], t[5]), t[6]), target);
    dd_grad(g, loss, LAYERS, t, d);
    dd_val match = dd_const(g, DD_F64, LAYERS);
    for (int i = 0; i < LAYERS; i++) {
        dd_val length = dd_sqrt(g, dd_mul(g, dd_dot(g, d[i], d[i]), dd_dot(g, real[i], real[i])));
        match = dd_sub(g, match, dd_div(g, dd_dot(g, d[i], real[i]), length));
    }
    dd_grad(g, match, 1, &x, &grad);
    out(r, "match", match);
    out(r, "grad", grad);
}

static void gradient_matching(void **state)
{
    static const char *const backend[] = {"ref", "cpu"};
    int failed = 0;
    (void)state;
    for (size_t k = 0; k < DD_LEN(backend); k++) {
        rig r = {.g = dd_graph_new()};
        dd_backend *b = NULL;
        dd_tensor want = {0};
        op_score score = {0};
        must(dd_backend_open(&b, backend[k], 2));
        build_matching(&r);
        rig_compile(&r, b);
        dd_tensor *x = get(&r, "x"), *match = get(&r, "match");
        must(dd_tensor_init(&want, DD_F64, x->shape));
        for (int64_t i = 0; i < dd_shape_count(x->shape); i++) {
            double keep = op_get(x, i), up;
            op_set(x, i, keep + STEP);
            must(dd_exec(r.p));
            up = op_get(match, 0);
            op_set(x, i, keep - STEP);
            must(dd_exec(r.p));
            op_set(&want, i, (up - op_get(match, 0)) / (2 * STEP));
            op_set(x, i, keep);
        }
        must(dd_exec(r.p));
        op_judge(&score, backend[k], "gradient matching", op_error(get(&r, "grad"), &want), TOL_DIFF);
        op_summary(&score, "gradient matching through two blocks and a resampling");
        failed += score.failed;
        dd_tensor_fini(&want);
        rig_free(&r);
        dd_backend_close(b);
    }
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(third_order_of_a_block), cmocka_unit_test(gradient_matching)};
    return cmocka_run_group_tests_name("op networks", tests, NULL, NULL);
}

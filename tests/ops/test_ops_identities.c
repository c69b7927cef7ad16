/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold for the table as a whole: every op has a case, gradients of gradients of gradients stay inside the
 * table, masks and index ops have the constant 0 as gradient, and each linear op is the adjoint of its partner. */
#include "op_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four above */
#include <cmocka.h>

static bool has_op(const dd_graph *g, dd_op op)
{
    for (uint32_t id = 1; id < dd_graph_size(g); id++)
        if (dd_graph_node(g, id)->op == op) return true;
    return false;
}

/* A row of ops.def without a case, or a case whose graph does not hold the op it claims to test. */
static void every_op_has_a_case(void **state)
{
    int seen[DD_OP_COUNT] = {0}, missing = 0;
    (void)state;
    for (int i = 0; i < op_case_count(); i++) {
        const op_case *c = op_case_at(i);
        dd_graph *g = dd_graph_new();
        op_build b;
        op_build_graph(g, c, DD_F64, 0, &b);
        if (has_op(g, c->op))
            seen[c->op]++;
        else
            print_error("  %s: builds a graph without %s\n", c->name, dd_op_name(c->op));
        missing += !has_op(g, c->op);
        dd_graph_free(g);
    }
    for (int op = 1; op < DD_OP_COUNT; op++) {
        if (seen[op]) continue;
        print_error("  %s has no case\n", dd_op_name((dd_op)op));
        missing++;
    }
    printf("coverage: %d cases, %d ops, %d missing\n", op_case_count(), DD_OP_COUNT - 1, missing);
    assert_int_equal(missing, 0);
}

/* Poison, the op without a case: absorbs everything, and its message is kept. */
static void poison_spreads(void **state)
{
    dd_graph *g = dd_graph_new();
    dd_val a = dd_input(g, "a", DD_F32, DD_SHAPE(2, 3)), b = dd_input(g, "b", DD_F32, DD_SHAPE(4)), out;
    dd_val sum = dd_add(g, a, b);
    (void)state;
    assert_int_equal(sum.id, 0);
    assert_int_equal(dd_exp(g, sum).id, 0);
    dd_val loss = dd_sum_all(g, sum);
    assert_int_equal(loss.id, 0);
    dd_grad(g, loss, 1, &a, &out);
    assert_int_equal(out.id, 0);
    assert_int_equal(dd_graph_status(g), DD_EINVAL);
    assert_true(strlen(dd_last_error()) > 0);
    dd_graph_free(g);
}

/* Ops below `root`, marked in used. */
static int collect(const dd_graph *g, uint32_t root, bool *used)
{
    int bad = 0;
    bool *live = dd_alloc(root + 1, sizeof *live);
    if (!live) return 1;
    live[root] = true;
    for (uint32_t id = root; id > 0; id--) {
        const dd_node *n = dd_graph_node(g, id);
        if (!live[id]) continue;
        bad += n->op <= DD_OP_POISON || n->op >= DD_OP_COUNT;
        if (n->op < DD_OP_COUNT) used[n->op] = true;
        for (int k = 0; k < n->nsrc; k++) live[n->src[k]] = true;
    }
    dd_free(live);
    return bad;
}

/* Gradients of order 1, 2 and 3 of one case, all inputs at once. */
static int close_case(const op_case *c, bool *used)
{
    op_build b;
    dd_val wrt[OP_MAX_IN], out[OP_MAX_IN];
    int n = 0, bad = 0;
    dd_graph *g = dd_graph_new();
    op_build_graph(g, c, DD_F64, 2, &b);
    for (int i = 0; i < c->nin; i++)
        if (op_is_diff(c, i)) wrt[n++] = b.in[i];
    dd_val third = dd_const(g, DD_F64, 0);
    for (int i = 0; i < c->nin; i++) {
        if (!op_is_diff(c, i)) continue;
        bad += collect(g, b.g[i].id, used) + collect(g, b.h[i].id, used);
        third = dd_add(g, third, dd_dot(g, b.h[i], b.v[i]));
    }
    dd_grad(g, third, n, wrt, out);
    for (int k = 0; k < n; k++) bad += out[k].id == 0 || collect(g, out[k].id, used);
    bad += dd_graph_status(g) != DD_OK || dd_graph_verify(g) != DD_OK;
    if (bad) print_error("  %s: %s\n", c->name, dd_last_error());
    dd_graph_free(g);
    return bad;
}

static void gradients_stay_in_the_table(void **state)
{
    bool used[DD_OP_COUNT] = {false};
    int bad = 0, n = 0;
    (void)state;
    for (int i = 0; i < op_case_count(); i++) bad += close_case(op_case_at(i), used);
    for (int op = 0; op < DD_OP_COUNT; op++) n += used[op];
    printf("closure: orders 1 to 3 of %d cases use %d of %d ops, %d left the table\n", op_case_count(), n,
           DD_OP_COUNT - 1, bad);
    assert_int_equal(bad, 0);
}

/* Is v the constant 0, perhaps expanded? */
static bool is_zero(const dd_graph *g, dd_val v)
{
    const dd_node *n = dd_graph_node(g, v.id);
    while (n->op == DD_OP_EXPAND) n = dd_graph_node(g, n->src[0]);
    return v.id != 0 && n->op == DD_OP_CONST && !(n->c < 0) && !(n->c > 0);
}

static void masks_have_zero_gradients(void **state)
{
    int bad = 0, checked = 0;
    (void)state;
    for (int i = 0; i < op_case_count(); i++) {
        const op_case *c = op_case_at(i);
        if (!(dd_op_flags(c->op) & DD_F_NOGRAD) || c->op == DD_OP_IOTA) continue;
        dd_graph *g = dd_graph_new();
        op_build b;
        op_build_graph(g, c, DD_F64, 1, &b);
        for (int k = 0; k < c->nin; k++) {
            if (!op_is_diff(c, k)) continue;
            checked++;
            if (is_zero(g, b.g[k])) continue;
            bad++;
            print_error("  %s: the gradient of input %d is not the constant 0\n", c->name, k);
        }
        dd_graph_free(g);
    }
    printf("no gradient: %d inputs of masks and index ops, %d not the constant 0\n", checked, bad);
    assert_int_equal(bad, 0);
}

/* Transposes of a case's op in its source 0, built by hand from u of its output shape. */
static dd_val t_expand(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    dd_shape s = c->in[0].shape, o = dd_shape_of(g, u);
    unsigned axes = 0;
    (void)in;
    for (int a = 0; a < o.rank; a++)
        if (a < o.rank - s.rank || s.dim[a - (o.rank - s.rank)] != o.dim[a]) axes |= 1u << a;
    return dd_reshape(g, dd_sum(g, u, axes), s);
}

static dd_val t_sum(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    (void)in;
    return dd_expand(g, u, c->in[0].shape);
}

static dd_val t_reshape(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    (void)in;
    return dd_reshape(g, u, c->in[0].shape);
}

static dd_val t_permute(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    int inverse[DD_MAX_RANK] = {0};
    (void)in;
    for (int a = 0; a < c->in[0].shape.rank; a++) inverse[c->p[a]] = a;
    return dd_permute(g, u, inverse);
}

static dd_val t_flip(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    (void)in;
    return dd_flip(g, u, (unsigned)c->p[0]);
}

static dd_val t_slice(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    dd_shape s = c->in[0].shape;
    int64_t lo[DD_MAX_RANK], hi[DD_MAX_RANK], gap[DD_MAX_RANK];
    (void)in;
    for (int a = 0; a < s.rank; a++) {
        int64_t count = c->p[s.rank + a], stride = c->p[2 * s.rank + a];
        lo[a] = c->p[a];
        gap[a] = stride - 1;
        hi[a] = s.dim[a] - lo[a] - ((count - 1) * stride + 1);
    }
    return dd_pad(g, u, lo, hi, gap);
}

static dd_val t_pad(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    dd_shape s = c->in[0].shape;
    int64_t stride[DD_MAX_RANK];
    (void)in;
    for (int a = 0; a < s.rank; a++) stride[a] = c->p[2 * s.rank + a] + 1;
    return dd_slice(g, u, c->p, s.dim, stride);
}

static dd_val t_gather(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    if (c->p[0]) return dd_scatter_add_along(g, u, in[1], c->in[0].shape.dim[2]);
    return dd_scatter_add(g, u, in[1], c->in[0].shape.dim[0]);
}

static dd_val t_scatter(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    return c->p[0] ? dd_gather_along(g, u, in[1]) : dd_gather(g, u, in[1]);
}

static dd_pool_attr pool_of(const op_case *c)
{
    const int64_t *p = c->p;
    return (dd_pool_attr){{(int)p[0], (int)p[1]}, {(int)p[2], (int)p[3]}, {(int)p[4], (int)p[5]}};
}

static dd_val t_patchsum(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    (void)c, (void)in;
    return dd_patchsum(g, u);
}

static dd_val t_sumpool(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    (void)in;
    return dd_sumpool_t(g, u, pool_of(c), c->in[0].shape.dim[2], c->in[0].shape.dim[3]);
}

static dd_val t_sumpool_t(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    (void)in;
    return dd_sumpool(g, u, pool_of(c));
}

static dd_val t_sample(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    return dd_sample_t(g, u, in[1], c->in[0].shape.dim[2], c->in[0].shape.dim[3]);
}

static dd_val t_sample_t(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    return dd_sample(g, u, in[1], c->in[0].shape.dim[2], c->in[0].shape.dim[3]);
}

static dd_conv_attr conv_of(const op_case *c)
{
    const int64_t *p = c->p;
    return (dd_conv_attr){{(int)p[0], (int)p[1]}, {(int)p[2], (int)p[3]}, {(int)p[4], (int)p[5]}, (int)p[6]};
}

static dd_val t_conv(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    return dd_conv_dx(g, u, in[1], conv_of(c), c->in[0].shape.dim[2], c->in[0].shape.dim[3]);
}

static dd_val t_conv_dx(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    return dd_conv(g, u, in[1], conv_of(c));
}

static dd_val t_conv_dw(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    return dd_conv_dx(g, in[1], u, conv_of(c), c->in[0].shape.dim[2], c->in[0].shape.dim[3]);
}

static dd_val t_matmul(dd_graph *g, const op_case *c, const dd_val *in, dd_val u)
{
    if (c->p[0]) return dd_matmul(g, in[1], u, c->p[1] != 0, true);
    return dd_matmul(g, u, in[1], false, c->p[1] == 0);
}

static const struct {
    dd_op op;
    dd_val (*transpose)(dd_graph *g, const op_case *c, const dd_val *in, dd_val u);
} pairs[] = {
    {DD_OP_EXPAND, t_expand},
    {DD_OP_SUM, t_sum},
    {DD_OP_RESHAPE, t_reshape},
    {DD_OP_PERMUTE, t_permute},
    {DD_OP_FLIP, t_flip},
    {DD_OP_SLICE, t_slice},
    {DD_OP_PAD, t_pad},
    {DD_OP_GATHER, t_gather},
    {DD_OP_SCATTER_ADD, t_scatter},
    {DD_OP_SUMPOOL, t_sumpool},
    {DD_OP_SUMPOOL_T, t_sumpool_t},
    {DD_OP_PATCHSUM, t_patchsum},
    {DD_OP_SAMPLE, t_sample},
    {DD_OP_SAMPLE_T, t_sample_t},
    {DD_OP_CONV, t_conv},
    {DD_OP_CONV_DX, t_conv_dx},
    {DD_OP_CONV_DW, t_conv_dw},
    {DD_OP_MATMUL, t_matmul},
};

typedef struct adjoint {
    dd_program *p;
    dd_tensor in[OP_MAX_IN], u, left, right;
} adjoint;

static dd_status adjoint_bind(adjoint *a, const op_case *c, dd_dtype t, dd_shape out)
{
    static const op_input normal = {OP_NORMAL, {0, {0}}, 0};
    for (int i = 0; i < c->nin; i++) {
        char name[16];
        snprintf(name, sizeof name, "x%d", i);
        DD_TRY(dd_tensor_init(&a->in[i], op_is_index(c, i) ? DD_I32 : t, c->in[i].shape));
        op_fill(&c->in[i], i, &a->in[i]);
        DD_TRY(dd_bind(a->p, name, &a->in[i]));
    }
    DD_TRY(dd_tensor_init(&a->u, t, out));
    DD_TRY(dd_tensor_init(&a->left, t, DD_SCALAR));
    DD_TRY(dd_tensor_init(&a->right, t, DD_SCALAR));
    op_fill(&normal, 30, &a->u);
    DD_TRY(dd_bind(a->p, "u", &a->u));
    DD_TRY(dd_bind(a->p, "left", &a->left));
    return dd_bind(a->p, "right", &a->right);
}

/* <A x, u> = <x, A^T u> */
static double adjoint_error(const op_case *c, size_t k, dd_backend *b, dd_dtype t)
{
    op_build build;
    adjoint a = {0};
    double err = (double)INFINITY;
    dd_graph *g = dd_graph_new();
    op_build_graph(g, c, t, 0, &build);
    dd_shape out = dd_shape_of(g, build.y);
    dd_val u = dd_input(g, "u", t, out);
    dd_output(g, "left", dd_dot(g, build.y, u));
    dd_output(g, "right", dd_dot(g, build.in[0], pairs[k].transpose(g, c, build.in, u)));
    if (dd_compile(&a.p, g, b) == DD_OK && adjoint_bind(&a, c, t, out) == DD_OK && dd_exec(a.p) == DD_OK)
        err = op_error(&a.left, &a.right);
    else
        print_error("  %s: %s\n", c->name, dd_last_error());
    dd_graph_free(g);
    dd_program_free(a.p);
    for (int i = 0; i < OP_MAX_IN; i++) dd_tensor_fini(&a.in[i]);
    dd_tensor_fini(&a.u);
    dd_tensor_fini(&a.left);
    dd_tensor_fini(&a.right);
    return err;
}

/* Both sides are sums of the same few hundred products in another order; cancellation may leave a tenth of them. */
static void linear_ops_have_adjoints(void **state)
{
    static const struct {
        const char *backend, *what;
        dd_dtype t;
        double tol;
    } run[] = {{"ref", "adjoints: ref f64", DD_F64, 1e-12},
               {"cpu", "adjoints: cpu f64", DD_F64, 1e-12},
               {"cpu", "adjoints: cpu f32", DD_F32, 2e-4}};
    int failed = 0;
    (void)state;
    for (size_t r = 0; r < DD_LEN(run); r++) {
        op_score score = {0};
        dd_backend *b = NULL;
        assert_int_equal(dd_backend_open(&b, run[r].backend, 2), DD_OK);
        for (int i = 0; i < op_case_count(); i++)
            for (size_t k = 0; k < DD_LEN(pairs); k++) {
                const op_case *c = op_case_at(i);
                if (c->op == pairs[k].op)
                    op_judge(&score, c->name, run[r].what, adjoint_error(c, k, b, run[r].t), run[r].tol);
            }
        op_summary(&score, run[r].what);
        failed += score.failed;
        dd_backend_close(b);
    }
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_op_has_a_case), cmocka_unit_test(poison_spreads),
                                       cmocka_unit_test(gradients_stay_in_the_table),
                                       cmocka_unit_test(masks_have_zero_gradients),
                                       cmocka_unit_test(linear_ops_have_adjoints)};
    return cmocka_run_group_tests_name("op identities", tests, NULL, NULL);
}

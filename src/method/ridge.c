/* SPDX-License-Identifier: Apache-2.0
 *
 * Ridge regression on features as programs. Knows graph, exec, nn, data. */
#include "method/ridge.h"

#include "base/memory.h"

/* [f(x), 1] as [n,F+1]. */
static dd_val features(dd_graph *g, const dd_run *r, dd_val theta, dd_val x)
{
    const int64_t n = dd_shape_of(g, x).dim[0];
    const dd_val part[] = {dd_net_apply(g, r->net, theta, x, (dd_val){0}).features,
                           dd_full(g, r->dtype, DD_SHAPE(n, 1), 1)};
    return dd_concat(g, 2, part, 1);
}

static dd_val theta_input(dd_graph *g, const dd_run *r)
{
    return dd_input(g, "theta", r->dtype, DD_SHAPE(dd_net_size(r->net)));
}

/* Phi^T (Phi Phi^T + ridge I)^-1 Y */
static dd_val solution(dd_graph *g, const dd_run *r, const dd_ridge *q, const dd_fed *in)
{
    const int64_t n = q->in.n, classes = r->data->classes;
    const dd_val phi = features(g, r, theta_input(g, r), in->seen);
    const dd_val kernel = dd_add(g, dd_matmul(g, phi, phi, false, true), dd_scale(g, dd_eye(g, r->dtype, n), q->ridge));
    const dd_val a =
        dd_spdsolve(g, dd_reshape(g, kernel, DD_SHAPE(1, n, n)), dd_reshape(g, in->y, DD_SHAPE(1, n, classes)));
    return dd_matmul(g, phi, dd_reshape(g, a, DD_SHAPE(n, classes)), true, false);
}

static void build_fit(dd_graph *g, const dd_run *r, const dd_ridge *q)
{
    const dd_fed in = dd_feed_inputs(g, r, q->in.n, true);
    const dd_val before = dd_input(g, "before", r->dtype, q->w.shape);
    dd_output(g, "w", dd_add(g, dd_scale(g, before, 1 - q->mix), dd_scale(g, solution(g, r, q, &in), q->mix)));
}

static void build_back(dd_graph *g, const dd_run *r, const dd_ridge *q)
{
    const dd_fed in = dd_feed_inputs(g, r, q->in.n, true);
    const dd_val dw = dd_input(g, "dw", r->dtype, q->w.shape);
    dd_val dy;
    dd_grad(g, dd_scale(g, dd_dot(g, dw, solution(g, r, q, &in)), q->mix), 1, &in.y, &dy);
    dd_output(g, "dy", dy);
}

static dd_status compile(dd_program **out, const dd_run *r, const dd_ridge *q,
                         void (*build)(dd_graph *, const dd_run *, const dd_ridge *))
{
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    build(g, r, q);
    DD_TRY(dd_compile_draft(out, g, r->backend));
    DD_TRY(dd_feed_bind(&q->in, r, *out));
    return dd_bind(*out, "theta", &q->theta);
}

/* On n images, of the set or real ones, which are not augmented. */
static dd_status build_pass(const dd_run *r, dd_ridge *q, dd_ridge_pass *w, int64_t n, bool set)
{
    DD_TRY(dd_feed_init(&w->in, r, n, true));
    DD_TRY(dd_tensor_init(&w->loss, r->dtype, DD_SCALAR));
    DD_TRY(dd_tensor_init(&w->dw, r->dtype, q->w.shape));
    DD_TRY(dd_tensor_init(&w->dscale, r->dtype, DD_SCALAR));
    if (set) DD_TRY(dd_tensor_init(&w->dtheta, r->dtype, q->theta.shape));
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    const dd_val theta = theta_input(g, r), scale = dd_input(g, "scale", r->dtype, DD_SCALAR);
    const dd_val weights = dd_input(g, "w", r->dtype, q->w.shape), x = dd_input(g, "x", r->dtype, w->in.x.shape);
    const dd_val z = dd_mul(g, scale, dd_matmul(g, features(g, r, theta, x), weights, false, false));
    const dd_val loss = dd_xent(g, z, dd_input(g, "y", r->dtype, w->in.y.shape)), wrt[] = {weights, scale, theta};
    dd_val d[3];
    dd_grad(g, loss, set ? 3 : 2, wrt, d);
    dd_output(g, "loss", loss);
    dd_output(g, "dw", d[0]);
    dd_output(g, "dscale", d[1]);
    if (set) dd_output(g, "dtheta", d[2]);
    DD_TRY(dd_compile_draft(&w->p, g, r->backend));
    if (set) DD_TRY(dd_bind(w->p, "dtheta", &w->dtheta));
    DD_TRY(dd_bind(w->p, "x", set ? &q->in.x : &w->in.x));
    DD_TRY(dd_bind(w->p, "y", set ? &q->in.y : &w->in.y));
    DD_TRY(dd_bind(w->p, "theta", &q->theta));
    DD_TRY(dd_bind(w->p, "scale", &q->scale));
    DD_TRY(dd_bind(w->p, "w", &q->w));
    DD_TRY(dd_bind(w->p, "loss", &w->loss));
    DD_TRY(dd_bind(w->p, "dw", &w->dw));
    return dd_bind(w->p, "dscale", &w->dscale);
}

static dd_status allocate(dd_ridge *q, const dd_run *r, int64_t batch)
{
    const dd_shape w = DD_SHAPE(dd_net_features(r->net) + 1, r->data->classes);
    DD_TRY(dd_feed_init(&q->in, r, batch, true));
    DD_TRY(dd_tensor_init(&q->theta, r->dtype, DD_SHAPE(dd_net_size(r->net))));
    DD_TRY(dd_tensor_init(&q->scale, r->dtype, DD_SCALAR));
    DD_TRY(dd_tensor_init(&q->w, r->dtype, w));
    DD_TRY(dd_tensor_init(&q->before, r->dtype, w));
    DD_TRY(dd_tensor_init(&q->dw, r->dtype, w));
    return dd_tensor_init(&q->dy, r->dtype, q->in.y.shape);
}

dd_status dd_ridge_init(dd_ridge *q, const dd_run *r, int64_t batch, int64_t n, int64_t chunk)
{
    const int64_t part = chunk < n ? chunk : n;
    q->n = n;
    DD_TRY(allocate(q, r, batch));
    DD_TRY(compile(&q->fit, r, q, build_fit));
    DD_TRY(dd_bind(q->fit, "before", &q->before));
    DD_TRY(dd_bind(q->fit, "w", &q->w));
    DD_TRY(compile(&q->back, r, q, build_back));
    DD_TRY(dd_bind(q->back, "dw", &q->dw));
    DD_TRY(dd_bind(q->back, "dy", &q->dy));
    DD_TRY(build_pass(r, q, &q->part, part, false));
    if (n % part) DD_TRY(build_pass(r, q, &q->tail, n % part, false));
    return build_pass(r, q, &q->set, batch, true);
}

void dd_ridge_fini(dd_ridge *q)
{
    dd_ridge_pass *const passes[] = {&q->part, &q->tail, &q->set};
    dd_tensor *const all[] = {&q->theta, &q->scale, &q->w, &q->before, &q->dw, &q->dy};
    dd_program_free(q->fit);
    dd_program_free(q->back);
    dd_feed_fini(&q->in);
    for (size_t i = 0; i < DD_LEN(passes); i++) {
        dd_program_free(passes[i]->p);
        dd_feed_fini(&passes[i]->in);
        dd_tensor_fini(&passes[i]->loss);
        dd_tensor_fini(&passes[i]->dw);
        dd_tensor_fini(&passes[i]->dscale);
        dd_tensor_fini(&passes[i]->dtheta);
    }
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
}

dd_status dd_ridge_judge(dd_ridge *q, const dd_run *r, const int32_t *items, double *loss)
{
    DD_TRY(dd_exec(q->fit));
    *loss = 0;
    dd_set_zero(&q->dw);
    for (int64_t at = 0; at < q->n;) {
        dd_ridge_pass *w = q->n - at < q->part.in.n ? &q->tail : &q->part;
        const double share = (double)w->in.n / (double)q->n;
        dd_feed_real(&w->in, r, items + at);
        DD_TRY(dd_exec(w->p));
        *loss += share * dd_scalar(&w->loss);
        dd_add_scaled(&q->dw, share, &w->dw);
        at += w->in.n;
    }
    return dd_exec(q->back);
}

dd_status dd_ridge_train(dd_ridge *q)
{
    return dd_exec(q->set.p);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Two programs, a step and its adjoint, over a stored trajectory. Knows graph, exec, nn, data. */
#include "method/unroll.h"

#include "base/memory.h"
#include "base/workspace.h"
#include "graph/carry.h"

#include <inttypes.h>
#include <string.h>

struct dd_unroll {
    const dd_run *r;
    dd_unroll_opts o;
    dd_program *step, *back;
    dd_program *leave, *take; /* the same, handing over what is carried; NULL: no step does */
    dd_carry carry;
    uint32_t common; /* nodes with which all graphs begin */
    int64_t kept;    /* the last so many steps */
    size_t bytes;    /* of what one of them keeps */
    dd_workspace room;
    dd_feed in;
    dd_tensor theta, speed;     /* [N+1,P]; speed only with momentum */
    dd_tensor q, dx, dy;        /* [P] [batch,C,H,W] [batch,classes] */
    dd_tensor alpha, rate_grad; /* scalars */
};

static dd_val vector(dd_graph *g, const dd_unroll *u, const char *name)
{
    return dd_input(g, name, u->r->dtype, DD_SHAPE(dd_net_size(u->r->net)));
}

static bool momentum(const dd_unroll *u)
{
    return u->o.momentum > 0;
}

/* The gradient of a step's loss by theta, times alpha where there is no momentum: alpha then scales the loss, so that
 * the derivative by alpha of its product with a vector comes from the way forwards alone and takes no gradient of
 * weights. */
static dd_val gradient(dd_graph *g, const dd_unroll *u, const dd_fed *in, dd_val theta, dd_val alpha)
{
    const dd_val y = u->o.logits ? dd_exp(g, dd_log_softmax(g, in->y)) : in->y;
    const dd_val loss = dd_xent(g, dd_net_apply(g, u->r->net, theta, in->seen, (dd_val){0}).logits, y);
    dd_val grad;
    dd_grad(g, momentum(u) ? loss : dd_mul(g, alpha, loss), 1, &theta, &grad);
    return grad;
}

/* What all graphs begin with, so that a step's values have the same ids in all. */
typedef struct begun {
    dd_fed in;
    dd_val theta, alpha, grad;
} begun;

static begun begin(dd_graph *g, dd_unroll *u)
{
    begun b = {.in = dd_feed_inputs(g, u->r, u->o.batch, true)};
    b.theta = vector(g, u, "theta");
    b.alpha = dd_input(g, "alpha", u->r->dtype, DD_SCALAR);
    b.grad = gradient(g, u, &b.in, b.theta, b.alpha);
    u->common = dd_graph_size(g);
    return b;
}

static void build_step(dd_graph *g, dd_unroll *u)
{
    const begun b = begin(g, u);
    dd_val v = b.grad;
    if (momentum(u)) {
        v = dd_add(g, v, dd_scale(g, vector(g, u, "v"), u->o.momentum));
        dd_output(g, "v'", v);
        v = dd_mul(g, b.alpha, v);
    }
    dd_output(g, "theta'", dd_sub(g, b.theta, v));
}

static void build_back(dd_graph *g, dd_unroll *u)
{
    const begun b = begin(g, u);
    const dd_val p = vector(g, u, "p"), wrt[] = {b.in.x, b.theta, u->o.labels ? b.in.y : b.alpha, b.alpha};
    const int n = 2 + u->o.labels + !momentum(u);
    dd_val d[4] = {{0}, {0}, {0}, {0}}, w = dd_neg(g, p);
    if (momentum(u)) w = dd_add(g, dd_mul(g, b.alpha, w), vector(g, u, "q"));
    dd_grad(g, dd_dot(g, dd_stop(g, w), b.grad), n, wrt, d);
    dd_output(g, "dalpha", momentum(u) ? dd_neg(g, dd_dot(g, vector(g, u, "v'"), p)) : d[n - 1]);
    dd_output(g, "dx", d[0]);
    if (!u->o.constant) dd_output(g, "p'", dd_add(g, p, d[1]));
    if (u->o.labels) dd_output(g, "dy", d[2]);
    if (momentum(u)) dd_output(g, "q'", dd_scale(g, w, u->o.momentum));
}

/* ---- programs ---- */

/* Each value of a step begins on a line of the caches. */
static size_t size_of(const dd_unroll *u, int i)
{
    return ((size_t)dd_shape_count(u->carry.shape[i]) * dd_dtype_size(u->carry.dtype[i]) + 63) / 64 * 64;
}

/* As many steps as fit into so many MiB, the last ones. */
static int64_t fitting(const dd_unroll *u, int64_t mib)
{
    const int64_t n = u->bytes ? (int64_t)((size_t)(mib << 20) / u->bytes) : 0;
    return n < u->o.steps ? n : u->o.steps;
}

/* Where memory is limited they have 1 MiB at most, which is a cut if fewer fit then. */
static dd_status choose_kept(dd_unroll *u, dd_run *r, const dd_graph *back)
{
    const int64_t asked = u->o.keep, before = r->cut[0];
    int64_t keep = before > 0 && before < asked ? before : asked;
    if (r->limited && keep > 1) keep = 1;
    DD_TRY(dd_carry_choose(back, u->common, &u->carry));
    for (int i = 0; i < u->carry.n; i++) u->bytes += size_of(u, i);
    u->kept = fitting(u, keep);
    r->cut[0] = u->kept < fitting(u, asked) ? keep : 0;
    return dd_workspace_init(&u->room, (size_t)u->kept * u->bytes);
}

/* Only what some step runs. */
static dd_status compile_both(dd_unroll *u, dd_run *r, dd_graph *step, dd_graph **back)
{
    DD_TRY(choose_kept(u, r, *back));
    if (u->kept < u->o.steps) {
        DD_TRY(dd_compile(&u->back, *back, u->r->backend)); /* first: it needs more memory */
        DD_TRY(dd_compile(&u->step, step, u->r->backend));
    }
    if (!u->kept) return DD_OK;
    dd_carry_out(step, &u->carry);
    DD_TRY(dd_carry_in(back, &u->carry));
    return dd_compile_pair(&u->leave, &u->take, step, *back, u->r->backend);
}

static dd_status compile(dd_unroll *u, dd_run *r)
{
    dd_graph *step = dd_graph_new(), *back = dd_graph_new();
    dd_status s = step && back ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for a graph");
    if (s == DD_OK) {
        build_step(step, u);
        build_back(back, u);
        s = dd_graph_status(step);
    }
    if (s == DD_OK) s = dd_graph_status(back);
    if (s == DD_OK) s = compile_both(u, r, step, &back);
    dd_graph_free(step);
    dd_graph_free(back);
    return s;
}

static dd_status allocate(dd_unroll *u)
{
    const int64_t p = dd_net_size(u->r->net), n = u->o.steps;
    DD_TRY(dd_feed_init(&u->in, u->r, u->o.batch, true));
    DD_TRY(dd_tensor_init(&u->theta, u->r->dtype, DD_SHAPE(n + 1, p)));
    if (momentum(u)) DD_TRY(dd_tensor_init(&u->speed, u->r->dtype, DD_SHAPE(n + 1, p)));
    DD_TRY(dd_tensor_init(&u->q, u->r->dtype, DD_SHAPE(p)));
    DD_TRY(dd_tensor_init(&u->dx, u->r->dtype, u->in.x.shape));
    DD_TRY(dd_tensor_init(&u->dy, u->r->dtype, u->in.y.shape));
    DD_TRY(dd_tensor_init(&u->alpha, u->r->dtype, DD_SCALAR));
    return dd_tensor_init(&u->rate_grad, u->r->dtype, DD_SCALAR);
}

/* What does not change from step to step. */
static dd_status bind_back(dd_unroll *u, dd_program *p)
{
    DD_TRY(dd_bind(p, "dalpha", &u->rate_grad));
    DD_TRY(dd_bind(p, "dx", &u->dx));
    if (u->o.labels) DD_TRY(dd_bind(p, "dy", &u->dy));
    if (!momentum(u)) return DD_OK;
    DD_TRY(dd_bind(p, "q", &u->q));
    return dd_bind(p, "q'", &u->q);
}

static dd_status bind(dd_unroll *u)
{
    dd_program *const all[] = {u->back, u->take, u->step, u->leave};
    for (int i = 0; i < 4; i++) {
        if (!all[i]) continue;
        DD_TRY(dd_feed_bind(&u->in, u->r, all[i]));
        DD_TRY(dd_bind(all[i], "alpha", &u->alpha));
        if (i < 2) DD_TRY(bind_back(u, all[i]));
    }
    return DD_OK;
}

static bool keeps(const dd_unroll *u, int64_t i)
{
    return i >= u->o.steps - u->kept;
}

/* Where step i keeps its values. */
static dd_status bind_carried(const dd_unroll *u, dd_program *p, int64_t i)
{
    char *at = (char *)u->room.p + (size_t)(i - (u->o.steps - u->kept)) * u->bytes;
    for (int j = 0; j < u->carry.n; at += size_of(u, j++)) {
        const dd_tensor t = dd_tensor_view(u->carry.dtype[j], u->carry.shape[j], at);
        DD_TRY(dd_bind(p, u->carry.name[j], &t));
    }
    return DD_OK;
}

/* Draws from outside are one for each image of each step. */
static dd_status check_given(const dd_unroll *u)
{
    const dd_tensor *aug = u->r->given ? u->r->given->aug : NULL;
    if (!aug || !u->r->aug.list || aug->shape.dim[0] == u->o.steps * u->o.batch) return DD_OK;
    return dd_fail(DD_EINVAL, "\"aug\" has %" PRId64 " rows, and %" PRId64 " steps of %" PRId64 " images need %" PRId64,
                   aug->shape.dim[0], u->o.steps, u->o.batch, u->o.steps * u->o.batch);
}

static dd_status open_unroll(dd_unroll *u, dd_run *r)
{
    DD_TRY(check_given(u));
    if (dd_net_stats(u->r->net))
        return dd_fail(DD_EUNSUPPORTED,
                       "%s: batch norm's running statistics cannot be unrolled; choose another norm, instance for "
                       "example",
                       dd_net_spec(u->r->net));
    DD_TRY(allocate(u));
    DD_TRY(compile(u, r));
    return bind(u);
}

dd_status dd_unroll_new(dd_unroll **out, dd_run *r, const dd_unroll_opts *o)
{
    *out = NULL;
    dd_unroll *u = dd_alloc(1, sizeof *u);
    if (!u) return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " steps", o->steps);
    u->r = r;
    u->o = *o;
    const dd_status s = open_unroll(u, r);
    if (s == DD_OK)
        *out = u;
    else
        dd_unroll_free(u);
    return s;
}

void dd_unroll_free(dd_unroll *u)
{
    if (!u) return;
    dd_tensor *const all[] = {&u->theta, &u->speed, &u->q, &u->dx, &u->dy, &u->alpha, &u->rate_grad};
    dd_program_free(u->step);
    dd_program_free(u->back);
    dd_program_free(u->leave);
    dd_program_free(u->take);
    dd_workspace_fini(&u->room);
    dd_feed_fini(&u->in);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_free(u);
}

static void set_scalar(dd_tensor *t, double x)
{
    if (t->dtype == DD_F32)
        *dd_f32(t) = (float)x;
    else
        *dd_f64(t) = x;
}

static dd_tensor row(const dd_unroll *u, const dd_tensor *all, int64_t i)
{
    const int64_t p = dd_net_size(u->r->net);
    return dd_tensor_view(u->r->dtype, DD_SHAPE(p), (char *)all->data + i * p * (int64_t)dd_dtype_size(all->dtype));
}

static dd_status still_wanted(const dd_unroll *u)
{
    return dd_run_asked(u->r);
}

dd_tensor dd_unroll_theta(const dd_unroll *u, int64_t i)
{
    return row(u, &u->theta, i);
}

dd_status dd_unroll_forward(dd_unroll *u, const dd_tensor *theta, const double *alpha, dd_unroll_feed feed, void *self)
{
    dd_tensor now = row(u, &u->theta, 0), next, v, speed;
    DD_TRY(dd_tensor_copy(&now, theta));
    if (momentum(u)) memset(u->speed.data, 0, dd_tensor_bytes(&now));
    for (int64_t i = 0; i < u->o.steps; i++) {
        DD_TRY(still_wanted(u));
        now = row(u, &u->theta, i);
        next = row(u, &u->theta, i + 1);
        feed(self, i, &u->in);
        set_scalar(&u->alpha, alpha[i]);
        dd_program *step = keeps(u, i) ? u->leave : u->step;
        if (keeps(u, i)) DD_TRY(bind_carried(u, step, i));
        DD_TRY(dd_bind(step, "theta", &now));
        DD_TRY(dd_bind(step, "theta'", &next));
        if (momentum(u)) {
            v = row(u, &u->speed, i);
            speed = row(u, &u->speed, i + 1);
            DD_TRY(dd_bind(step, "v", &v));
            DD_TRY(dd_bind(step, "v'", &speed));
        }
        DD_TRY(dd_exec(step));
    }
    return DD_OK;
}

dd_status dd_unroll_backward(dd_unroll *u, dd_tensor *end, const double *alpha, double *dalpha, dd_unroll_feed feed,
                             dd_unroll_take take, void *self)
{
    memset(u->q.data, 0, dd_tensor_bytes(&u->q));
    for (int64_t i = u->o.steps - 1; i >= 0; i--) {
        DD_TRY(still_wanted(u));
        const dd_tensor theta = row(u, &u->theta, i);
        feed(self, i, &u->in);
        set_scalar(&u->alpha, alpha[i]);
        dd_program *back = keeps(u, i) ? u->take : u->back;
        if (keeps(u, i)) DD_TRY(bind_carried(u, back, i));
        DD_TRY(dd_bind(back, "p", end));
        if (!u->o.constant) DD_TRY(dd_bind(back, "p'", end));
        DD_TRY(dd_bind(back, "theta", &theta));
        if (momentum(u)) {
            const dd_tensor v = row(u, &u->speed, i + 1);
            DD_TRY(dd_bind(back, "v'", &v));
        }
        DD_TRY(dd_exec(back));
        dalpha[i] = dd_scalar(&u->rate_grad);
        take(self, i, &u->dx, u->o.labels ? &u->dy : NULL);
    }
    return DD_OK;
}

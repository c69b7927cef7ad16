/* SPDX-License-Identifier: Apache-2.0
 *
 * Optimiser steps: SGD on the host for pixels and learning rates, SGD and Adam as parts of a training graph.
 * Weight decay hits every parameter, biases and norm scales included, as in the references. Knows graph. */
#include "nn/step_internal.h"

#include <math.h>

void dd_sgd_update(float *x, float *v, const float *g, int64_t n, double lr, double momentum, double weight_decay)
{
    const float mu = (float)momentum, wd = (float)weight_decay, rate = (float)lr;
    for (int64_t i = 0; i < n; i++) {
        v[i] = mu * v[i] + (g[i] + wd * x[i]);
        x[i] -= rate * v[i];
    }
}

static double norm(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

void dd_lamb_update(float *x, float *m, float *v, const float *g, int64_t n, double lr, double beta1, double beta2,
                    int64_t step)
{
    const double fix1 = 1 / (1 - pow(beta1, (double)step)), fix2 = 1 / (1 - pow(beta2, (double)step));
    const float b1 = (float)beta1, b2 = (float)beta2, c1 = (float)(1 - beta1), c2 = (float)(1 - beta2);
    const double size = norm(x, n);
    double squares = 0;
    for (int64_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        v[i] = b2 * v[i] + c2 * g[i] * g[i];
        const double u = fix1 * (double)m[i] / (sqrt(fix2 * (double)v[i]) + 1e-6);
        squares += u * u;
    }
    const double along = squares > 0 && size > 0 ? lr * size / sqrt(squares) : lr;
    for (int64_t i = 0; i < n; i++) x[i] -= (float)(along * fix1 * (double)m[i] / (sqrt(fix2 * (double)v[i]) + 1e-6));
}

static dd_val decay(dd_graph *g, dd_val grad, dd_val theta, double weight_decay)
{
    return weight_decay > 0 ? dd_add(g, grad, dd_scale(g, theta, weight_decay)) : grad;
}

dd_step_state dd_step_sgd(dd_graph *g, dd_step_state s, dd_val grad, dd_val lr, double momentum, double weight_decay)
{
    const dd_val decayed = decay(g, grad, s.theta, weight_decay);
    dd_step_state next = s;
    next.v1 = momentum > 0 ? dd_add(g, dd_scale(g, s.v1, momentum), decayed) : decayed;
    next.theta = dd_sub(g, s.theta, dd_mul(g, lr, next.v1));
    return next;
}

dd_step_state dd_step_adam(dd_graph *g, dd_step_state s, dd_val grad, dd_val lr, dd_val fix1, dd_val fix2,
                           double weight_decay)
{
    const dd_val decayed = decay(g, grad, s.theta, weight_decay);
    dd_step_state next = s;
    next.v1 = dd_add(g, dd_scale(g, s.v1, DD_ADAM_BETA1), dd_scale(g, decayed, 1 - DD_ADAM_BETA1));
    next.v2 = dd_add(g, dd_scale(g, s.v2, DD_ADAM_BETA2), dd_scale(g, dd_square(g, decayed), 1 - DD_ADAM_BETA2));
    const dd_val root = dd_addc(g, dd_sqrt(g, dd_mul(g, next.v2, fix2)), DD_ADAM_EPS);
    next.theta = dd_sub(g, s.theta, dd_mul(g, lr, dd_div(g, dd_mul(g, next.v1, fix1), root)));
    return next;
}

/* The second moment is that of the gradient, or of its distance from the first, plus eps. */
static void adaptive(float *x, float *m, float *v, const float *g, int64_t n, double lr, double beta1, double beta2,
                     int64_t step, bool distance, float eps)
{
    const double fix1 = 1 - pow(beta1, (double)step), fix2 = 1 - pow(beta2, (double)step);
    const float b1 = (float)beta1, b2 = (float)beta2, c1 = (float)(1 - beta1), c2 = (float)(1 - beta2);
    const float rate = (float)(lr / fix1), root = (float)(1 / sqrt(fix2)), least = distance ? eps : 0;
    for (int64_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        const float of = distance ? g[i] - m[i] : g[i];
        v[i] = b2 * v[i] + c2 * of * of + least;
        x[i] -= rate * m[i] / (sqrtf(v[i]) * root + eps);
    }
}

void dd_adam_update(float *x, float *m, float *v, const float *g, int64_t n, double lr, double beta1, double beta2,
                    int64_t step)
{
    adaptive(x, m, v, g, n, lr, beta1, beta2, step, false, 1e-8f);
}

void dd_adabelief_update(float *x, float *m, float *v, const float *g, int64_t n, double lr, double beta1, double beta2,
                         int64_t step)
{
    adaptive(x, m, v, g, n, lr, beta1, beta2, step, true, 1e-16f);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What bf16 changes: the method's first iteration, made apart in float32 and in bf16 from the same images and draws.
 * Knows what the driver knows. */
#include "method/driver_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static dd_status copy_part(dd_tensor *to, const dd_tensor *from)
{
    if (!from->data) return DD_OK;
    if (!to->data) DD_TRY(dd_tensor_init(to, from->dtype, from->shape));
    return dd_tensor_copy(to, from);
}

static dd_status copy_set(dd_synset *to, const dd_synset *from)
{
    DD_TRY(copy_part(&to->images, &from->images));
    DD_TRY(copy_part(&to->soft_labels, &from->soft_labels));
    DD_TRY(copy_part(&to->lr, &from->lr));
    DD_TRY(copy_part(&to->theta, &from->theta));
    return copy_part(&to->labels, &from->labels);
}

/* One iteration on images of its own; *step: what it added to them. */
static dd_status iterate_once(const dd_driver *d, dd_backend *b, void *state, dd_tensor *step, double *loss)
{
    dd_run r = d->r;
    const dd_tensor *images = &d->r.syn->images;
    r.backend = b;
    r.syn = NULL;
    memset(r.cut, 0, sizeof r.cut); /* of bf16 and of float32 alike as large as fits now */
    DD_TRY(dd_synset_new(&r.syn, d->r.syn->m, d->data));
    dd_status s = copy_set(r.syn, d->r.syn);
    if (s == DD_OK) s = d->method->build(&r, state);
    if (s == DD_OK) s = d->method->iterate(&r, state, 0);
    if (s == DD_OK) s = dd_tensor_init(step, DD_F32, images->shape);
    for (int64_t i = 0; s == DD_OK && i < dd_shape_count(images->shape); i++)
        dd_f32(step)[i] = dd_f32(&r.syn->images)[i] - dd_f32(images)[i];
    *loss = r.loss;
    dd_synset_free(r.syn);
    return s;
}

static dd_status with_precision(const dd_driver *d, const char *precision, dd_tensor *step, double *loss)
{
    dd_backend *b = NULL;
    void *state = dd_alloc(1, d->method->state_size);
    if (!state) return dd_fail(DD_ENOMEM, "out of memory for a probe of %s", precision);
    memcpy(state, d->state, d->method->state_size); /* options only: nothing is built yet */
    dd_status s = dd_driver_backend(d, precision, &b);
    if (s == DD_OK) s = iterate_once(d, b, state, step, loss);
    if (d->method->fini) d->method->fini(state);
    dd_backend_close(b);
    dd_free(state);
    return s;
}

static double distance(const dd_tensor *a, const dd_tensor *b)
{
    double gap = 0, size = 0;
    for (int64_t i = 0; i < dd_shape_count(b->shape); i++) {
        const double x = (double)dd_f32(a)[i], y = (double)dd_f32(b)[i];
        gap += (x - y) * (x - y);
        size += y * y;
    }
    return size > 0 ? sqrt(gap / size) : sqrt(gap);
}

dd_status dd_driver_probe(dd_driver *d)
{
    dd_tensor single = {0}, half = {0};
    double loss = 0, loss_half = 0;
    char line[160];
    if (d->loss_deviation >= 0) return DD_OK;
    dd_status s = with_precision(d, "float32", &single, &loss);
    if (s == DD_OK) s = with_precision(d, "bf16", &half, &loss_half);
    if (s == DD_OK && !(isfinite(loss) && isfinite(loss_half)))
        s = dd_fail(DD_ENUMERIC,
                    "the loss of the first iteration is %g, in bf16 %g: try --precision float32 or a smaller %s", loss,
                    loss_half, d->method->rates ? d->method->rates : "lr_img");
    if (s == DD_OK) {
        d->loss_deviation = fabs(loss_half - loss) / (loss != 0 ? fabs(loss) : 1);
        d->step_deviation = distance(&half, &single);
        snprintf(line, sizeof line,
                 "bf16: in the first iteration the loss is off float32's by %.2g, the step of the "
                 "images by %.2g of its length",
                 d->loss_deviation, d->step_deviation);
        if (d->o.log) d->o.log(d->o.self, line);
    }
    dd_tensor_fini(&single);
    dd_tensor_fini(&half);
    return s;
}

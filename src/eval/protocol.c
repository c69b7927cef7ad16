/* SPDX-License-Identifier: Apache-2.0
 *
 * The named evaluation protocols, as the papers of their names trained. Knows facts of data and network only. */
#include "attar/eval.h"

#include <stdio.h>
#include <string.h>

/* A mirrored digit is another sign or none, so digit sets drop the flip. */
static bool is_digits(const dd_dataset *d)
{
    static const char *const sets[] = {"mnist", "svhn", "digits"};
    for (size_t i = 0; d && i < DD_LEN(sets); i++)
        if (!strcmp(d->name, sets[i])) return true;
    return false;
}

/* FRePo's students see mirror images of neither MNIST nor Fashion-MNIST; nor here of the embedded digits. */
static bool mirrored(const dd_dataset *d)
{
    static const char *const sets[] = {"mnist", "fashion-mnist", "digits"};
    for (size_t i = 0; d && i < DD_LEN(sets); i++)
        if (!strcmp(d->name, sets[i])) return false;
    return true;
}

/* DC augments batch norm's networks, which need it to train on few images, and MNIST; batch norm decides first, as in
 * the authors' code. */
static void dc_augmentation(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    const bool mnist = d && !strcmp(d->name, "mnist");
    if (mnist) p->epochs = 1000;
    if (net && dd_net_stats(net) > 0)
        snprintf(p->aug, sizeof p->aug, "dc:crop_noise");
    else if (mnist)
        snprintf(p->aug, sizeof p->aug, "dc:crop_scale_rotate");
}

dd_status dd_protocol_named(dd_protocol *out, const char *name, const dd_dataset *d, const dd_net *net)
{
    static const char *const known[] = {"dc", "dsa", "mtt", "steps", "adam", "krr", "frepo", NULL};
    *out = (dd_protocol){
        .epochs = 300, .batch = 256, .lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4, .test_batch = 100};
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->aug, sizeof out->aug, "none");
    if (!strcmp(name, "dc")) {
        dc_augmentation(out, d, net);
        return DD_OK;
    }
    if (!strcmp(name, "steps")) {
        out->in_steps = true;
        out->momentum = out->weight_decay = 0;
        return DD_OK;
    }
    if (!strcmp(name, "adam")) {
        out->adam = out->own_epochs = true;
        out->lr = 0.001;
        out->momentum = out->weight_decay = 0;
        out->batch = 50;
        return DD_OK;
    }
    if (!strcmp(name, "frepo")) {
        out->adam = true;
        out->warmup = 500;
        out->lr = 0.0003;
        out->momentum = out->weight_decay = 0;
        out->batch = 500;
        snprintf(out->aug, sizeof out->aug, "frepo:color_crop_cutout%s_scale_rotate", mirrored(d) ? "_flip" : "");
        out->epochs = -1; /* by the size of the set: dd_protocol_fit */
        return DD_OK;
    }
    if (!strcmp(name, "krr")) {
        snprintf(out->kernel, sizeof out->kernel, "fc:depth=1");
        out->ridge = 1e-6;
        out->epochs = 0;
        return DD_OK;
    }
    out->own_lr = !strcmp(name, "mtt");
    if (strcmp(name, "dsa") && !out->own_lr) {
        const char *near = dd_nearest(name, known);
        return dd_fail(DD_ENOTFOUND,
                       "there is no protocol \"%s\"; the protocols are dc, dsa, mtt, steps, adam, krr and frepo%s%s",
                       name, near ? ", did you mean " : "", near ? near : "");
    }
    out->epochs = 1000;
    snprintf(out->aug, sizeof out->aug, "%s",
             is_digits(d) ? "color_crop_cutout_scale_rotate" : "color_crop_cutout_flip_scale_rotate");
    return DD_OK;
}

bool dd_protocol_regresses(const dd_protocol *p)
{
    return p->kernel[0] || p->warmup > 0;
}

/* Steps for a set of n images, as FRePo's authors have them. */
static int64_t steps_for(int64_t n)
{
    static const int64_t rows[][2] = {{10, 1000}, {100, 2000}, {500, 5000}, {1000, 10000}};
    for (size_t i = 0; i < DD_LEN(rows); i++)
        if (n <= rows[i][0]) return rows[i][1];
    return 40000;
}

dd_status dd_protocol_fit(dd_protocol *p, const dd_synset *s)
{
    if (p->warmup > 0 && p->epochs < 0) {
        const int64_t batches = (s->m + p->batch - 1) / p->batch;
        p->epochs = (steps_for(s->m) + batches - 1) / batches - 1;
    }
    if (!p->own_lr && !p->in_steps) return DD_OK;
    if (!s->lr.data)
        return dd_fail(DD_EINVAL, "protocol %s trains by learned step sizes, and this set has none; use dc or dsa",
                       p->name);
    if (p->own_lr) {
        p->lr = (double)dd_f32(&s->lr)[0];
        return DD_OK;
    }
    p->rates = &s->lr;
    p->start = s->theta.data ? &s->theta : NULL;
    p->epochs = dd_shape_count(s->lr.shape) - 1;
    p->batch = s->classes;
    return DD_OK;
}

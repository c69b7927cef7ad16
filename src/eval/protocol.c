/* SPDX-License-Identifier: Apache-2.0
 *
 * The named evaluation protocols, as the papers of their names trained. Knows facts of data and network only. */
#include "attar/eval.h"

#include <stdio.h>
#include <string.h>

enum { RFAD_STEPS = 2000 };

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
static void dc(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    const bool mnist = d && !strcmp(d->name, "mnist");
    if (mnist) p->epochs = 1000;
    if (net && dd_net_stats(net) > 0)
        snprintf(p->aug, sizeof p->aug, "dc:crop_noise");
    else if (mnist)
        snprintf(p->aug, sizeof p->aug, "dc:crop_scale_rotate");
}

static void dsa(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    (void)net;
    p->epochs = 1000;
    snprintf(p->aug, sizeof p->aug, "%s",
             is_digits(d) ? "color_crop_cutout_scale_rotate" : "color_crop_cutout_flip_scale_rotate");
}

static void mtt(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    dsa(p, d, net);
    p->own_lr = true;
}

static void steps(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    (void)d, (void)net;
    p->in_steps = true;
    p->momentum = p->weight_decay = 0;
}

static void adam(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    (void)d, (void)net;
    p->adam = p->own_epochs = true;
    p->lr = 0.001;
    p->momentum = p->weight_decay = 0;
    p->batch = 50;
}

static void krr(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    (void)d, (void)net;
    snprintf(p->kernel, sizeof p->kernel, "fc:depth=1");
    p->ridge = 1e-6;
    p->epochs = 0;
}

static void frepo(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    (void)net;
    p->squared = p->adam = true;
    p->warmup = 500;
    p->lr = 0.0003;
    p->momentum = p->weight_decay = 0;
    p->batch = 500;
    snprintf(p->aug, sizeof p->aug, "frepo:color_crop_cutout%s_scale_rotate", mirrored(d) ? "_flip" : "");
    p->epochs = -1; /* by the size of the set: dd_protocol_fit */
}

static void rfad(dd_protocol *p, const dd_dataset *d, const dd_net *net)
{
    (void)net;
    p->squared = p->centred = true;
    p->weight_decay = d && !strcmp(d->name, "mnist") ? 0.001 : 0;
    p->epochs = RFAD_STEPS - 1; /* learning rate, scale and batch by the set: dd_protocol_fit */
}

/* A protocol is a row here, and its name one of DD_PROTOCOLS. */
static const struct {
    const char *name;
    void (*fill)(dd_protocol *p, const dd_dataset *d, const dd_net *net);
} protocols[] = {{"dc", dc},     {"dsa", dsa}, {"mtt", mtt},     {"steps", steps},
                 {"adam", adam}, {"krr", krr}, {"frepo", frepo}, {"rfad", rfad}};

dd_status dd_protocol_named(dd_protocol *out, const char *name, const dd_dataset *d, const dd_net *net)
{
    const char *known[DD_LEN(protocols) + 1] = {NULL};
    *out = (dd_protocol){
        .epochs = 300, .batch = 256, .lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4, .test_batch = 100, .scale = 1};
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->aug, sizeof out->aug, "none");
    for (size_t i = 0; i < DD_LEN(protocols); i++) {
        known[i] = protocols[i].name;
        if (strcmp(name, known[i]) != 0) continue;
        protocols[i].fill(out, d, net);
        return DD_OK;
    }
    const char *near = dd_nearest(name, known);
    return dd_fail(DD_ENOTFOUND, "there is no protocol \"%s\"; there are %s%s%s", name, DD_PROTOCOLS,
                   near ? ", did you mean " : "", near ? near : "");
}

bool dd_protocol_regresses(const dd_protocol *p)
{
    return p->kernel[0] || p->squared;
}

int64_t dd_protocol_span(const dd_protocol *p)
{
    return p->kernel[0] ? 100 : p->epochs + 1;
}

/* Steps for a set of n images, as FRePo's authors have them: 200 images are apart. */
static int64_t steps_for(int64_t n)
{
    static const int64_t rows[][2] = {{10, 1000}, {100, 2000}, {500, 5000}, {1000, 10000}};
    if (n == 200) return 20000;
    for (size_t i = 0; i < DD_LEN(rows); i++)
        if (n <= rows[i][0]) return rows[i][1];
    return 40000;
}

/* As RFAD's authors have them: for MNIST, 10 classes or so, and 100. */
static void fit_rfad(dd_protocol *p, const dd_synset *s)
{
    const int64_t ipc = s->m / s->classes;
    const bool many = s->classes > 50, mnist = p->weight_decay > 0;
    p->lr = many ? 0.1 : ipc <= 10 || mnist ? 0.001 : 0.01;
    p->scale = ipc <= 1 || mnist ? 8 : 2;
    p->batch = s->m;
}

dd_status dd_protocol_fit(dd_protocol *p, const dd_synset *s)
{
    if (p->centred) fit_rfad(p, s);
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

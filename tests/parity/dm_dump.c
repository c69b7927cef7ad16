/* SPDX-License-Identifier: Apache-2.0
 *
 * dm_dump OUT.safetensors [DATA [BACKEND]]: loss and pixel gradient of distribution matching, with everything
 * they were computed from, one case per augmentation strategy, so that dm_parity.py can compute them again. The graph
 * is built as src/method/dm.c builds it. */
#include "attar/data.h"
#include "attar/net.h"
#include "base/memory.h"
#include "dump.h"

#include <stdio.h>
#include <string.h>

enum { CLASSES = 3, REAL = 32, IPC = 2, PARTS = 6 };

static const char *const lists[] = {"none", "color", "crop",   "cutout",
                                    "flip", "scale", "rotate", "color_crop_cutout_flip_scale_rotate"};
static const char *const parts[PARTS] = {"real", "syn", "theta", "aug", "loss", "grad"};
enum { P_REAL, P_SYN, P_THETA, P_AUG, P_LOSS, P_GRAD };

typedef struct dump {
    dd_dataset *data;
    dd_net *net;
    dd_backend *backend;
} dump;

static dd_val mean_features(const dump *u, dd_graph *g, dd_aug a, int64_t per, dd_val *x)
{
    const dd_dataset *d = u->data;
    const int64_t n = CLASSES * per, f = dd_net_features(u->net);
    const dd_val theta = dd_input(g, "theta", DD_F32, DD_SHAPE(dd_net_size(u->net)));
    *x = dd_input(g, "x", DD_F32, DD_SHAPE(n, d->c, d->h, d->w));
    dd_val seen = *x;
    if (a.list) seen = dd_augment(g, a, *x, dd_input(g, "aug", DD_F32, DD_SHAPE(n, DD_AUG_PARAMS)));
    const dd_net_out out = dd_net_apply(g, u->net, theta, seen, (dd_val){0});
    const dd_val grouped = dd_reshape(g, out.features, DD_SHAPE(CLASSES, per, f));
    return dd_reshape(g, dd_mean(g, grouped, 2), DD_SHAPE(CLASSES, f));
}

/* Each class's row of parameters, once for each of its `per` images. */
static dd_status spread(dd_tensor *rows, const dd_tensor *draws, int64_t per)
{
    DD_TRY(dd_tensor_init(rows, DD_F32, DD_SHAPE(CLASSES * per, DD_AUG_PARAMS)));
    for (int64_t i = 0; i < CLASSES * per; i++)
        memcpy(dd_f32(rows) + i * DD_AUG_PARAMS, dd_f32(draws) + i / per * DD_AUG_PARAMS,
               DD_AUG_PARAMS * sizeof(float));
    return DD_OK;
}

/* loss and grad stay unset for the real images, whose means are the result. */
static dd_status pass(const dump *u, dd_aug a, const dd_tensor *t, bool match, dd_tensor *means)
{
    const int64_t per = match ? IPC : REAL;
    dd_graph *g = dd_graph_new();
    if (!g) return dd_fail(DD_ENOMEM, "out of memory for a graph");
    dd_val x, grad;
    const dd_val mean = mean_features(u, g, a, per, &x);
    if (match) {
        const dd_val target = dd_input(g, "means", DD_F32, means->shape);
        const dd_val loss = dd_sum_all(g, dd_square(g, dd_sub(g, target, mean)));
        dd_grad(g, loss, 1, &x, &grad);
        dd_output(g, "loss", loss);
        dd_output(g, "grad", grad);
    } else {
        dd_output(g, "means", mean);
    }
    dd_program *p = NULL;
    dd_tensor rows = {0};
    dd_status s = dd_compile(&p, g, u->backend);
    dd_graph_free(g);
    if (s == DD_OK) s = spread(&rows, &t[P_AUG], per);
    if (s == DD_OK) s = dd_bind(p, "theta", &t[P_THETA]);
    if (s == DD_OK) s = dd_bind(p, "x", &t[match ? P_SYN : P_REAL]);
    if (s == DD_OK && a.list) s = dd_bind(p, "aug", &rows);
    if (s == DD_OK) s = dd_bind(p, "means", means);
    if (s == DD_OK && match) s = dd_bind(p, "loss", &t[P_LOSS]);
    if (s == DD_OK && match) s = dd_bind(p, "grad", &t[P_GRAD]);
    if (s == DD_OK) s = dd_exec(p);
    dd_program_free(p);
    dd_tensor_fini(&rows);
    return s;
}

/* The first REAL images of each class are real, the IPC after them the synthetic ones. */
static void fill_images(const dump *u, const dd_tensor *t)
{
    const dd_split *s = &u->data->train;
    const int64_t size = u->data->c * u->data->h * u->data->w;
    for (int64_t c = 0; c < CLASSES; c++) {
        const int32_t *items = s->class_index + s->class_first[c];
        dd_data_batch(u->data, s, items, REAL, dd_f32(&t[P_REAL]) + c * REAL * size);
        dd_data_batch(u->data, s, items + REAL, IPC, dd_f32(&t[P_SYN]) + c * IPC * size);
    }
}

static dd_status run_case(const dump *u, int i, dd_tensor *t)
{
    const dd_dataset *d = u->data;
    const dd_key key = dd_key_at(dd_key_seed(1), "case", (uint64_t)i);
    dd_aug a;
    DD_TRY(dd_aug_parse(&a, lists[i]));
    DD_TRY(dd_tensor_init(&t[P_REAL], DD_F32, DD_SHAPE(CLASSES * REAL, d->c, d->h, d->w)));
    DD_TRY(dd_tensor_init(&t[P_SYN], DD_F32, DD_SHAPE(CLASSES * IPC, d->c, d->h, d->w)));
    DD_TRY(dd_tensor_init(&t[P_THETA], DD_F32, DD_SHAPE(dd_net_size(u->net))));
    DD_TRY(dd_tensor_init(&t[P_AUG], DD_F32, DD_SHAPE(CLASSES, DD_AUG_PARAMS)));
    DD_TRY(dd_tensor_init(&t[P_LOSS], DD_F32, DD_SCALAR));
    DD_TRY(dd_tensor_init(&t[P_GRAD], DD_F32, t[P_SYN].shape));
    fill_images(u, t);
    DD_TRY(dd_net_init(u->net, &t[P_THETA], dd_key_at(key, "theta", 0)));
    for (int64_t c = 0; c < CLASSES; c++)
        dd_aug_draw(a, (dd_image){d->c, d->h, d->w}, dd_key_at(key, "aug", (uint64_t)c), true, 1,
                    dd_f32(&t[P_AUG]) + c * DD_AUG_PARAMS);
    dd_tensor means = {0};
    dd_status s = dd_tensor_init(&means, DD_F32, DD_SHAPE(CLASSES, dd_net_features(u->net)));
    if (s == DD_OK) s = pass(u, a, t, false, &means);
    if (s == DD_OK) s = pass(u, a, t, true, &means);
    dd_tensor_fini(&means);
    return s;
}

static dd_status dump_all(dump *u, dd_st_entry *e, const char *path, const char *data, const char *backend)
{
    DD_TRY(dd_dataset_open(&u->data, data, NULL));
    const dd_dataset *d = u->data;
    for (int c = 0; c < CLASSES; c++)
        if (c >= d->classes || d->train.class_first[c + 1] - d->train.class_first[c] < REAL + IPC)
            return dd_fail(DD_EINVAL, "%s has too few images of class %d", data, c);
    const bool small = d->h < 28;
    DD_TRY(dd_net_open(&u->net, small ? "convnet:depth=2,width=32" : "convnet:depth=3,width=128",
                       (dd_image){d->c, d->h, d->w}, d->classes));
    DD_TRY(dd_backend_open(&u->backend, backend, 0));
    for (int i = 0; i < (int)DD_LEN(lists); i++) {
        dd_tensor t[PARTS] = {0};
        const dd_status s = run_case(u, i, t);
        for (int k = 0; k < PARTS; k++) {
            dd_st_entry *to = e + i * PARTS + k;
            snprintf(to->name, sizeof to->name, "%s/%s", lists[i], parts[k]);
            to->t = t[k];
        }
        if (s != DD_OK) return s;
    }
    return write_entries(e, (int)DD_LEN(lists) * PARTS, path);
}

int main(int argc, char **argv)
{
    static dd_st_entry e[DD_ST_MAX];
    if (argc < 2 || argc > 4) {
        fputs("usage: dm_dump OUT.safetensors [DATA [BACKEND]]\n", stderr);
        return 2;
    }
    dump u = {0};
    const dd_status s = dump_all(&u, e, argv[1], argc > 2 ? argv[2] : "digits", argc > 3 ? argv[3] : "cpu");
    if (s != DD_OK) fprintf(stderr, "dm_dump: %s\n", dd_last_error());
    for (int i = 0; i < DD_ST_MAX; i++) dd_tensor_fini(&e[i].t);
    dd_backend_close(u.backend);
    dd_net_close(u.net);
    dd_dataset_close(u.data);
    return s == DD_OK ? 0 : 1;
}

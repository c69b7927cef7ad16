/* SPDX-License-Identifier: Apache-2.0
 *
 * Every combination that the matrix of methods says exists makes three iterations, and what it says does not exist is
 * refused with the same sentence: one choice at a time, or with the argument "pairs" two at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attar/experts.h"
#include "attar/method.h"
#include "base/fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AXES = 8, NETS = 5, SIDE = 16 };

/* The networks of the axis "net", tiny; lenet does not fit digits of 8x8 pixels. */
static const struct {
    const char *value, *spec, *folder;
    bool large;
} nets[NETS] = {
    {"convnet", "convnet:depth=1,width=8", "convnet", false},
    {"mlp", "mlp:width=16", "mlp", false},
    {"lenet", "lenet", "lenet", true},
    {"widening", "widening:depth=1,width=8", "widening", false},
    {"norm=batch", "convnet:depth=1,width=8,norm=batch", "batch", false},
};

typedef struct place {
    char dir[200], large[256]; /* large: digits of 16x16 pixels */
    bool bf16;
    int runs, refused, number;
} place;

static bool want_pairs;
static const char *const spaces[] = {"auto", "zca-mtt"}; /* experts are trained in each */

static void put(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

static void write_idx(const place *p, const char *name, const unsigned char *body, size_t size, uint32_t n, bool images)
{
    char path[400];
    unsigned char *file = calloc(1, size + 16);
    const size_t head = images ? 16 : 8;
    assert_non_null(file);
    put(file, images ? 0x803 : 0x801);
    put(file + 4, n);
    put(file + 8, SIDE);
    put(file + 12, SIDE);
    memcpy(file + head, body, size);
    assert_int_equal(dd_path_join(path, sizeof path, p->large, name), DD_OK);
    assert_int_equal(dd_write_file(path, file, head + size), DD_OK);
    free(file);
}

/* Each pixel becomes four. */
static void enlarge(const place *p, const dd_split *s, const char *part)
{
    const int64_t pixels = SIDE * SIDE, half = SIDE / 2;
    unsigned char *x = malloc((size_t)(s->n * pixels)), *y = malloc((size_t)s->n);
    char name[64];
    assert_true(x && y);
    for (int64_t i = 0; i < s->n; i++) {
        y[i] = (unsigned char)dd_i32(&s->labels)[i];
        for (int64_t k = 0; k < pixels; k++) {
            const int64_t at = i * half * half + k / SIDE / 2 * half + k % SIDE / 2;
            x[i * pixels + k] = s->images.dtype == DD_U8 ? ((const unsigned char *)s->images.data)[at]
                                                         : (unsigned char)(255 * dd_f32(&s->images)[at]);
        }
    }
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", part);
    write_idx(p, name, x, (size_t)(s->n * pixels), (uint32_t)s->n, true);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", part);
    write_idx(p, name, y, (size_t)s->n, (uint32_t)s->n, false);
    free(x);
    free(y);
}

static void experts_dir(const place *p, int k, const char *space, char *dir, size_t size)
{
    snprintf(dir, size, "%s/%s-%s", p->dir, nets[k].folder, space);
}

/* Experts of net k; methods refuse what has batch norm before they look for any. */
static void make_experts(const place *p, dd_backend *b, int k, const char *space)
{
    dd_experts_opts e = DD_EXPERTS_OPTS_INIT;
    dd_data_opts o = DD_DATA_OPTS_INIT;
    dd_dataset *d;
    dd_net *net;
    char dir[300];
    e.experts = 2;
    e.expert_epochs = 3;
    o.normalise = space;
    if (strcmp(nets[k].value, "norm=batch") == 0) return;
    experts_dir(p, k, space, dir, sizeof dir);
    assert_int_equal(dd_dataset_open(&d, nets[k].large ? p->large : "digits", &o), DD_OK);
    assert_int_equal(dd_net_open(&net, nets[k].spec, (dd_image){d->c, d->h, d->w}, d->classes), DD_OK);
    assert_int_equal(dd_experts_train(&e, b, net, d, dir, NULL, NULL), DD_OK);
    dd_net_close(net);
    dd_dataset_close(d);
}

static int make_place(void **state)
{
    static place p; /* the test's fixture */
    dd_backend *b;
    dd_dataset *d;
    snprintf(p.dir, sizeof p.dir, "%s/attar-matrix-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    *state = &p;
    if (!mkdtemp(p.dir)) return -1;
    assert_int_equal(dd_path_join(p.large, sizeof p.large, p.dir, "large"), DD_OK);
    assert_int_equal(dd_make_dir(p.large), DD_OK);
    assert_int_equal(dd_dataset_open(&d, "digits", NULL), DD_OK);
    enlarge(&p, &d->train, "train");
    enlarge(&p, &d->test, "t10k");
    dd_dataset_close(d);
    assert_int_equal(dd_backend_open(&b, "cpu", 1), DD_OK);
    for (int k = 0; k < NETS; k++)
        for (size_t i = 0; i < DD_LEN(spaces); i++) make_experts(&p, b, k, spaces[i]);
    p.bf16 = dd_backend_precision(b, "bf16") == DD_OK;
    dd_backend_close(b);
    return 0;
}

static int clear_place(void **state)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", ((place *)*state)->dir);
    return system(command);
}

static bool takes(int method, const char *option)
{
    for (const dd_option *t = dd_method_options(method); t->name; t++)
        if (strcmp(t->name, option) == 0) return true;
    return false;
}

/* What makes a run of the method short: those of these options that it has. */
static void shorten(int method, const char *experts, const char **sets)
{
    static const char *const small[][2] = {
        {"train_epochs", "train_epochs=1"},
        {"batch_real", "batch_real=8"},
        {"outer_loop", "outer_loop=2"},
        {"inner_loop", "inner_loop=1"},
        {"outer_max", "outer_max=2"},
        {"inner_max", "inner_max=1"},
        {"syn_steps", "syn_steps=2"},
        {"threshold", "threshold=1e9"}, /* of three iterations one at least shall count */
        {"batch_syn", "batch_syn=7"},
        {"max_start_epoch", "max_start_epoch=2"},
        {"warmup_matches", "warmup_matches=1"},
    };
    int n = 0;
    for (size_t i = 0; i < DD_LEN(small); i++)
        if (takes(method, small[i][0])) sets[n++] = small[i][1];
    if (takes(method, "experts")) sets[n++] = experts;
    sets[n] = NULL;
}

static int net_of(const char *value)
{
    int k = 0;
    while (k < NETS && strcmp(nets[k].value, value) != 0) k++;
    if (k == NETS) fail_msg("the test knows no tiny network for %s", value);
    return k;
}

/* value[a]: of axis a; NULL: the method's own. Writes the choice and which network it is. */
static void choose(dd_distill_opts *o, const char *const *value, int *net)
{
    for (int a = 0; dd_axis_name(a); a++) {
        const char *axis = dd_axis_name(a), *v = value[a];
        if (!v) continue;
        if (strcmp(axis, "labels") == 0) snprintf(o->labels, sizeof o->labels, "%s", v);
        if (strcmp(axis, "init") == 0) snprintf(o->init, sizeof o->init, "%s", v);
        if (strcmp(axis, "aug") == 0) snprintf(o->aug, sizeof o->aug, "%s", strcmp(v, "dsa") ? v : "color_crop_flip");
        if (strcmp(axis, "precision") == 0) snprintf(o->precision, sizeof o->precision, "%s", v);
        if (strcmp(axis, "normalise") == 0) o->data_opts.normalise = v;
        if (strcmp(axis, "net") == 0) *net = net_of(v);
    }
}

/* The first sentence that refuses any of the choices; DD_OK: none does. */
static dd_status allowed(int method, const char *const *value)
{
    for (int a = 0; dd_axis_name(a); a++)
        if (value[a] && dd_method_takes(method, dd_axis_name(a), value[a]) != DD_OK) return DD_EUNSUPPORTED;
    return DD_OK;
}

static void try(place *p, int method, const char *const *value)
{
    dd_distill_opts o;
    dd_distill_result r;
    const char *sets[16];
    char dir[300], experts[400], name[32], choice[200] = "";
    int net = 0;
    assert_int_equal(dd_distill_defaults(&o), DD_OK);
    choose(&o, value, &net);
    if (!p->bf16 && strcmp(o.precision, "bf16") == 0) return;
    snprintf(o.method, sizeof o.method, "%s", dd_method_name(method));
    snprintf(o.data, sizeof o.data, "%s", nets[net].large ? p->large : "digits");
    snprintf(o.net, sizeof o.net, "%s", nets[net].spec);
    experts_dir(p, net, o.data_opts.normalise, dir, sizeof dir);
    snprintf(experts, sizeof experts, "experts=%s", dir);
    snprintf(name, sizeof name, "run%d", p->number++);
    assert_int_equal(dd_path_join(o.out, sizeof o.out, p->dir, name), DD_OK);
    shorten(method, experts, sets);
    o.sets = sets;
    o.iterations = 3;
    o.eval_repeats = 0;
    o.threads = 1;
    const dd_status want = allowed(method, value), got = dd_distill(&r, &o);
    for (int a = 0; dd_axis_name(a); a++)
        if (value[a]) snprintf(choice + strlen(choice), sizeof choice - strlen(choice), " %s", value[a]);
    if (got != want)
        fail_msg("%s%s: status %d where the matrix says %d: %s", o.method, choice, got, want,
                 got == DD_OK ? "it ran" : dd_last_error());
    if (got == DD_OK && r.iterations != 3 && dd_method_order(method)) fail_msg("%s%s stopped early", o.method, choice);
    if (got != DD_OK && dd_exists(o.out)) fail_msg("%s%s: a refused run left its folder behind", o.method, choice);
    if (got != DD_OK && !strstr(dd_last_error(), o.method))
        fail_msg("%s%s: the sentence does not name the method: %s", o.method, choice, dd_last_error());
    *(got == DD_OK ? &p->runs : &p->refused) += 1;
}

/* Other choices beside value[0 .. a-1], `left` of them. */
static void try_from(place *p, int method, const char **value, int a, int left)
{
    if (!left) try(p, method, value);
    if (!left || !dd_axis_name(a)) return;
    try_from(p, method, value, a + 1, left);
    for (int k = 0; dd_axis_value(a, k); k++) {
        value[a] = dd_axis_value(a, k);
        try_from(p, method, value, a + 1, left - 1);
    }
    value[a] = NULL;
}

static void the_matrix_is_true(void **state)
{
    place *p = *state;
    const char *value[AXES] = {NULL};
    for (int i = 0; i < dd_method_count(); i++) try_from(p, i, value, 0, want_pairs ? 2 : 1);
    printf("%d combinations made a set, %d were refused\n", p->runs, p->refused);
    assert_true(p->runs > p->refused && p->refused > 0);
}

/* Each row says what it costs. */
static void rows_are_complete(void **state)
{
    (void)state;
    for (int i = 0; i < dd_method_count(); i++) {
        assert_true(dd_method_cost(i) && dd_method_memory(i) && dd_method_cite(i));
        assert_in_range(dd_method_order(i), 0, 2);
    }
    assert_int_equal(dd_method_takes(-1, "labels", "hard"), DD_ENOTFOUND);
    assert_null(dd_axis_name(-1));
    assert_null(dd_axis_value(0, 100));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_complete),
        cmocka_unit_test(the_matrix_is_true),
    };
    want_pairs = argc > 1 && strcmp(argv[1], "pairs") == 0;
    return cmocka_run_group_tests(tests, make_place, clear_place);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Presets: that each names what exists, that what is given beside one stands and is told, and that a name which is none
 * is answered with the nearest. Budgets: the number that is chosen is the one that everything sees, resumed or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attar/method.h"
#include "base/fs.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct place {
    char dir[200], log[1000];
} place;

static int make_place(void **state)
{
    static place p; /* the test's fixture */
    snprintf(p.dir, sizeof p.dir, "%s/attar-preset-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    *state = &p;
    return mkdtemp(p.dir) ? 0 : -1;
}

static int clear_place(void **state)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", ((place *)*state)->dir);
    return system(command);
}

static void keep_line(void *self, const char *line)
{
    place *p = self;
    snprintf(p->log, sizeof p->log, "%s", line);
}

/* A run on the digits, in a second. */
static void small(dd_distill_opts *o, place *p, const char *name)
{
    snprintf(o->data, sizeof o->data, "digits");
    snprintf(o->net, sizeof o->net, "convnet:depth=1,width=8");
    assert_int_equal(dd_path_join(o->out, sizeof o->out, p->dir, name), DD_OK);
    o->eval_repeats = 1;
    o->eval_epochs = 2;
    o->threads = 1;
    o->baselines = false;
    o->log = keep_line;
    o->self = p;
    p->log[0] = 0;
}

static bool file_holds(const dd_distill_opts *o, const char *name, const char *text)
{
    char path[1200];
    void *bytes;
    size_t n;
    dd_path_join(path, sizeof path, o->out, name);
    assert_int_equal(dd_read_file(path, SIZE_MAX / 2, &bytes, &n), DD_OK);
    const bool there = strstr(bytes, text) != NULL;
    dd_free(bytes);
    return there;
}

static bool known_data(const char *name)
{
    for (int i = 0; i < dd_dataset_kind_count(); i++)
        if (strcmp(dd_dataset_kind_name(i), name) == 0) return true;
    return false;
}

static const dd_option *options_of(const char *method)
{
    for (int i = 0; i < dd_method_count(); i++)
        if (strcmp(dd_method_name(i), method) == 0) return dd_method_options(i);
    return NULL;
}

/* Whether each setting is one of the driver or the method. */
static void check_settings(const dd_preset *p)
{
    char *text = strdup(p->settings), *rest = text;
    assert_non_null(options_of(p->method));
    for (char *word; (word = strtok_r(rest, " ", &rest));) {
        char *equals = strchr(word, '=');
        bool found = false;
        assert_non_null(equals);
        *equals = 0;
        for (const dd_option *t = dd_driver_options(); t->name; t++) found |= strcmp(t->name, word) == 0;
        for (const dd_option *t = options_of(p->method); t->name; t++) found |= strcmp(t->name, word) == 0;
        if (!found) fail_msg("%s: nothing is called %s", p->name, word);
    }
    free(text);
}

static void every_preset_names_what_exists(void **state)
{
    char name[DD_OPT_TEXT + 32];
    (void)state;
    assert_true(dd_preset_count() > 50);
    assert_null(dd_preset_at(dd_preset_count()));
    for (int i = 0; i < dd_preset_count(); i++) {
        const dd_preset *p = dd_preset_at(i), *found;
        dd_distill_opts o;
        assert_int_equal(dd_distill_defaults(&o), DD_OK);
        assert_int_equal(dd_distill_preset(&o, p->name), DD_OK);
        assert_string_equal(o.method, p->method);
        assert_string_equal(o.preset, p->name);
        assert_true(known_data(o.data) && o.iterations > 0);
        snprintf(name, sizeof name, "/%s/%d", o.data, (int)o.ipc);
        assert_non_null(strstr(p->name, name));
        assert_true(p->expected > 10 && p->expected < 100 && p->tolerance >= 1 && p->tolerance <= 5);
        assert_non_null(strstr(p->source, "accuracy: "));
        assert_int_equal(dd_preset_find(&found, p->name), DD_OK);
        assert_ptr_equal(found, p); /* no name twice */
        check_settings(p);
    }
    const dd_preset *none;
    assert_int_equal(dd_preset_find(&none, "dsa/cifar/10"), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "\"dsa/cifar10/10\""));
}

static void a_preset_sets_options_and_tells_what_differs(void **state)
{
    static const char *const sets[] = {"batch_real=32", "chunk=16", NULL};
    place *p = *state;
    dd_distill_opts o;
    dd_distill_result r;
    assert_int_equal(dd_distill_defaults(&o), DD_OK);
    assert_int_equal(dd_distill_preset(&o, "dm/cifar10/100"), DD_OK);
    small(&o, p, "preset");
    o.ipc = 2;
    o.iterations = 3;
    o.sets = sets;
    assert_int_equal(dd_distill(&r, &o), DD_OK);
    assert_true(file_holds(&o, "config.json", "\"lr_img\": \"10\""));
    assert_true(file_holds(&o, "set.json", "\"preset\": \"dm/cifar10/100\""));
    assert_true(file_holds(&o, "set.json", "\"expected\": {\"accuracy\": 0.67, \"tolerance\": 0.01"));
    assert_string_equal(r.differs, "data digits for cifar10, ipc 2 for 100, iterations 3 for 20000, "
                                   "net convnet:depth=1,width=8 for convnet, eval_epochs 2 for -1, "
                                   "batch_real 32 for 256");
    assert_non_null(strstr(p->log, r.differs));
    assert_true(dd_preset_judge(dd_preset_at(0), &(dd_eval_result){.mean = 0.914}) == 0);
    assert_true(dd_preset_judge(dd_preset_at(0), &(dd_eval_result){.mean = 0.8}) < 0);
    assert_true(dd_preset_judge(dd_preset_at(0), &(dd_eval_result){.mean = 0.95}) > 0);
    snprintf(o.method, sizeof o.method, "dc");
    small(&o, p, "other");
    assert_int_equal(dd_distill(&r, &o), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "not of dc"));
}

static bool stop_after_two(void *self, const dd_progress *q)
{
    (void)self;
    return q->iteration != 2 || q->iterations == 100000; /* not while the budget is measured */
}

static void budgeted(dd_distill_opts *o, place *p, const char *name, double seconds)
{
    static const char *const quick[] = {"outer_max=2", "inner_max=1", "batch_real=16", NULL};
    assert_int_equal(dd_distill_defaults(o), DD_OK);
    small(o, p, name);
    snprintf(o->method, sizeof o->method, "cafe"); /* whose schedule is laid out on the length of the run */
    o->iterations = 100000;
    o->eval_repeats = 0;
    o->budget = seconds;
    o->sets = quick;
}

static void a_budget_chooses_once(void **state)
{
    place *p = *state;
    dd_distill_opts o, whole;
    dd_distill_result r, again;
    char number[64];
    budgeted(&o, p, "cut", 4);
    o.progress = stop_after_two;
    assert_int_equal(dd_distill(&r, &o), DD_EINTERRUPTED);
    assert_non_null(strstr(p->log, "a budget of 4 s allows"));
    assert_non_null(strstr(p->log, "of 100000 iterations"));
    o.progress = NULL;
    o.resume = true;
    assert_int_equal(dd_distill(&r, &o), DD_OK);
    assert_true(r.iterations > 2 && r.iterations < 100000);
    snprintf(number, sizeof number, "\"schedule\": \"%d\"", (int)r.iterations);
    assert_true(file_holds(&o, "config.json", number));
    snprintf(number, sizeof number, "\"budget\": {\"seconds\": 4, \"iterations\": %d}", (int)r.iterations);
    assert_true(file_holds(&o, "config.json", number) && file_holds(&o, "set.json", number));
    budgeted(&whole, p, "whole", 0); /* the same run by its number */
    whole.iterations = r.iterations;
    assert_int_equal(dd_distill(&again, &whole), DD_OK);
    dd_synset *a, *b;
    assert_int_equal(dd_synset_load(&a, o.out), DD_OK);
    assert_int_equal(dd_synset_load(&b, whole.out), DD_OK);
    assert_memory_equal(a->images.data, b->images.data, dd_tensor_bytes(&a->images));
    dd_synset_free(a);
    dd_synset_free(b);
}

static void budgets_refuse_or_do_not_matter(void **state)
{
    place *p = *state;
    dd_distill_opts o;
    dd_distill_result r;
    dd_distill_plan plan;
    budgeted(&o, p, "never", 0.001);
    assert_int_equal(dd_distill(&r, &o), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "allows no iteration"));
    assert_false(dd_exists(o.out));
    budgeted(&o, p, "enough", 1000);
    o.iterations = 2;
    assert_int_equal(dd_distill(&r, &o), DD_OK);
    assert_int_equal(r.iterations, 2);
    assert_non_null(strstr(p->log, "allows all 2 iterations"));
    budgeted(&o, p, "plan", 5);
    assert_int_equal(dd_distill_estimate(&plan, &o), DD_OK);
    assert_true(plan.iterations > 0 && plan.iterations < 100000 && plan.seconds <= 5);
    budgeted(&o, p, "random", 5); /* a coreset has nothing to cut */
    snprintf(o.method, sizeof o.method, "random");
    o.sets = NULL;
    assert_int_equal(dd_distill(&r, &o), DD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_preset_names_what_exists),
        cmocka_unit_test(a_preset_sets_options_and_tells_what_differs),
        cmocka_unit_test(a_budget_chooses_once),
        cmocka_unit_test(budgets_refuse_or_do_not_matter),
    };
    return cmocka_run_group_tests(tests, make_place, clear_place);
}

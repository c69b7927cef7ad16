/* SPDX-License-Identifier: Apache-2.0
 *
 * Published settings by name, made from presets.def, and how they become the options of a run. Knows the rows, and the
 * options of methods and of the driver. */
#include "base/memory.h"
#include "method/driver_internal.h"

#include <string.h>

/* Where settings and accuracies come from. */
#define CODE "settings: authors' code; "
#define SCRIPTS "settings: authors' scripts; "
#define SKETCH "settings: authors' code, a sketch whose loops have no end (here they have); "
#define HALVED "settings: authors' scripts, lr_img halved as their gradient lacks a factor of 2, whitening as mtt's; "
#define NO_FTD "settings: authors' scripts, whose experts (FTD), first images and batch of 128 are not here; "
#define DRAWS "settings: authors' code, the images are another draw; "
#define ISSUE "settings and accuracy: authors' issue tracker"
#define NOTEBOOK "settings and accuracy: authors' notebook"
#define UNSAID "settings: authors' notebook and whitening, learned labels; the figure's depth is not said; "
#define README "accuracy: authors' repository"
#define LATER "accuracy: a later paper's table"
#define WIDE "accuracy: authors' issue tracker, or remembered, of networks of width 1024 (attar eval --net)"
#define MEMORY "accuracy: remembered"

static const dd_preset table[] = {
#define DD_PRESET(label, method, data, ipc, normalise, settings, expected, tolerance, source)                          \
    {label "/" data "/" ipc,                                                                                           \
     method,                                                                                                           \
     normalise,                                                                                                        \
     "method=" method " data=" data " ipc=" ipc " " settings,                                                          \
     source,                                                                                                           \
     expected,                                                                                                         \
     tolerance},
#include "method/presets.def"
#undef DD_PRESET
};

int dd_preset_count(void)
{
    return (int)DD_LEN(table);
}

const dd_preset *dd_preset_at(int i)
{
    return i >= 0 && i < dd_preset_count() ? &table[i] : NULL;
}

dd_status dd_preset_find(const dd_preset **out, const char *name)
{
    const char *names[DD_LEN(table) + 1] = {NULL};
    for (size_t i = 0; i < DD_LEN(table); i++) {
        names[i] = table[i].name;
        if (strcmp(name, table[i].name) != 0) continue;
        *out = &table[i];
        return DD_OK;
    }
    const char *near = dd_nearest(name, names);
    return near ? dd_fail(DD_ENOTFOUND, "unknown preset \"%s\"; did you mean \"%s\"?", name, near)
                : dd_fail(DD_ENOTFOUND, "unknown preset \"%s\"; attar presets lists all %d, such as dsa/cifar10/10",
                          name, dd_preset_count());
}

/* Sets those of a preset's settings that `t` has; of the driver's table, or of a method's for what that one lacks. */
static dd_status apply(const dd_preset *p, const dd_option *t, void *dst, const dd_option *first)
{
    for (const char *at = p->settings; *at; at += strspn(at, " ")) {
        char key[64], value[DD_OPT_TEXT];
        const size_t n = strcspn(at, "="), m = strcspn(at + n + 1, " ");
        snprintf(key, sizeof key, "%.*s", (int)n, at);
        snprintf(value, sizeof value, "%.*s", (int)m, at + n + 1);
        at += n + 1 + m;
        if (dd_options_has(t, key))
            DD_TRY(dd_options_set(t, dst, key, value));
        else if (first && !dd_options_has(first, key))
            return dd_fail(DD_ENOTFOUND, "preset %s sets %s, which its method does not have", p->name, key);
    }
    return DD_OK;
}

dd_status dd_distill_preset(dd_distill_opts *o, const char *name)
{
    const dd_preset *p;
    DD_TRY(dd_preset_find(&p, name));
    DD_TRY(apply(p, dd_driver_options(), o, NULL));
    snprintf(o->preset, sizeof o->preset, "%s", name);
    o->data_opts.normalise = p->normalise;
    return DD_OK;
}

dd_status dd_preset_state(dd_driver *d)
{
    if (!d->o.preset[0]) return DD_OK;
    DD_TRY(dd_preset_find(&d->preset, d->o.preset));
    if (strcmp(d->preset->method, d->method->name) != 0)
        return dd_fail(DD_EINVAL, "preset %s is one of method %s, not of %s; leave out one of the two", d->preset->name,
                       d->preset->method, d->method->name);
    return apply(d->preset, d->method->options, d->state, dd_driver_options());
}

/* --- what a run does otherwise than its preset --- */

static void differ(dd_str *s, const char *key, const char *now, const char *then)
{
    if (strcmp(now, then) != 0) dd_str_addf(s, "%s%s %s for %s", s->len ? ", " : "", key, now, then);
}

/* These do not change what is distilled or how a network is judged. */
static bool same_result(const char *key)
{
    static const char *const keys[] = {"out",     "seed",         "eval_repeats", "baselines", "checkpoint_every",
                                       "threads", "memory_limit", "backend",      "experts",   "chunk",
                                       NULL};
    for (int i = 0; keys[i]; i++)
        if (strcmp(keys[i], key) == 0) return true;
    return false;
}

static dd_status differ_rows(dd_str *s, const dd_option *t, const void *now, const void *then)
{
    char a[DD_OPT_TEXT + 8], b[DD_OPT_TEXT + 8];
    for (; t->name; t++) {
        if (same_result(t->name)) continue;
        DD_TRY(dd_options_get(t, now, t->name, a, sizeof a));
        DD_TRY(dd_options_get(t, then, t->name, b, sizeof b));
        differ(s, t->name, a, b);
    }
    return DD_OK;
}

static dd_status compare(dd_driver *d, dd_distill_opts *o, void *state, dd_str *s)
{
    const char *now = d->o.data_opts.normalise ? d->o.data_opts.normalise : "auto";
    DD_TRY(dd_distill_defaults(o));
    DD_TRY(dd_distill_preset(o, d->preset->name));
    dd_driver_choose(o, d->method);
    DD_TRY(dd_options_defaults(d->method->options, state));
    DD_TRY(apply(d->preset, d->method->options, state, NULL));
    DD_TRY(differ_rows(s, dd_driver_options(), &d->o, o));
    DD_TRY(differ_rows(s, d->method->options, d->state, state));
    differ(s, "normalise", now, d->preset->normalise);
    return DD_OK;
}

dd_status dd_preset_differs(dd_driver *d)
{
    if (!d->preset) return DD_OK;
    dd_str s = {0};
    dd_distill_opts *o = dd_alloc(1, sizeof *o);
    void *state = dd_alloc(1, d->method->state_size);
    dd_status st = o && state ? compare(d, o, state, &s) : dd_fail(DD_ENOMEM, "out of memory for a preset");
    if (st == DD_OK && s.failed) st = dd_fail(DD_ENOMEM, "out of memory for a preset");
    snprintf(d->differs, sizeof d->differs, "%s", st == DD_OK && s.len ? s.p : "");
    dd_str_free(&s);
    dd_free(o);
    dd_free(state);
    if (st != DD_OK || !d->differs[0] || !d->o.log) return st;
    char line[sizeof d->differs + 1200];
    snprintf(line, sizeof line, "otherwise than preset %s: %s", d->preset->name, d->differs);
    d->o.log(d->o.self, line);
    return DD_OK;
}

int dd_preset_judge(const dd_preset *p, const dd_eval_result *r)
{
    const double gap = 100 * r->mean - p->expected;
    return gap < -p->tolerance ? -1 : gap > p->tolerance;
}

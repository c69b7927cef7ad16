/* SPDX-License-Identifier: Apache-2.0
 *
 * experts.json: one table of facts gives its text, its reading, what must agree with a call that goes on in the folder,
 * and the hash by which a snapshot knows its folder. Knows nn, data, base. */
#include "base/fs.h"
#include "base/utf8.h"
#include "data/data_internal.h"
#include "data/json.h"
#include "eval/expert_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FORMAT "attar-experts-1"
#define AT(field) offsetof(dd_expert_facts, field)
static const dd_option table[] = {
    {"format", DD_OPT_STRING, AT(format), FORMAT, 0, 0, NULL, "of the folder"},
    {"net", DD_OPT_STRING, AT(net), "", 0, 0, NULL, "its whole specification"},
    {"parameters", DD_OPT_INT, AT(parameters), "1", 1, 1099511627776.0, NULL, "P"},
    {"data", DD_OPT_STRING, AT(data), "", 0, 0, NULL, "the data set's name, for people"},
    {"data_sha256", DD_OPT_STRING, AT(data_sha256), "", 0, 0, NULL, "of pixels and labels"},
    {"normalisation", DD_OPT_STRING, AT(normalisation), "", 0, 0, NULL, "where mean and std come from"},
    {"seen_as", DD_OPT_STRING, AT(seen_as), "", 0, 0, NULL, "shape, mean and std"},
    {"optimiser", DD_OPT_STRING, AT(optimiser), "sgd", 0, 0, NULL, "how steps are made"},
    {"lr", DD_OPT_REAL, AT(lr), "0.01", 0, 0, NULL, "learning rate"},
    {"momentum", DD_OPT_REAL, AT(momentum), "0", 0, 0, NULL, "of SGD"},
    {"weight_decay", DD_OPT_REAL, AT(weight_decay), "0", 0, 0, NULL, "of SGD"},
    {"batch", DD_OPT_INT, AT(batch), "256", 1, 1e9, NULL, "images per step"},
    {"epoch_steps", DD_OPT_INT, AT(epoch_steps), "0", 0, 1e9, NULL, "batches an epoch, 0: all"},
    {"aug", DD_OPT_STRING, AT(aug), "none", 0, 0, NULL, "DSA list"},
    {"seed", DD_OPT_INT, AT(seed), "0", 0, 0, NULL, "of everything random"},
    {"store", DD_OPT_CHOICE, AT(store), "float32", 0, 0, "float32|bf16", "of weights"},
    {"expert_epochs", DD_OPT_INT, AT(expert_epochs), "1", 1, DD_EXPERT_EPOCHS_MOST, NULL, "E"},
    {0},
};

enum { VALUE = DD_OPT_TEXT + 8 };

/* Whole epochs are not written down: what was recorded before there were others stays the same experts. */
static bool unsaid(const dd_expert_facts *f, const dd_option *o)
{
    return o->offset == AT(epoch_steps) && f->epoch_steps == 0;
}

static dd_status path_of(char *path, size_t size, const char *dir)
{
    return dd_path_join(path, size, dir, "experts.json");
}

bool dd_expert_facts_here(const char *dir)
{
    char path[1024];
    return path_of(path, sizeof path, dir) == DD_OK && dd_exists(path);
}

static dd_status seen_as(char *buf, size_t size, const dd_dataset *d)
{
    dd_str s = {0};
    dd_str_addf(&s, "%" PRId64 "x%" PRId64 "x%" PRId64, d->c, d->h, d->w);
    for (int64_t i = 0; i < d->c; i++) dd_str_addf(&s, "%s%.17g", i ? "," : " ", d->mean[i]);
    for (int64_t i = 0; i < d->c; i++) dd_str_addf(&s, "%s%.17g", i ? "," : "/", d->std[i]);
    dd_status st = s.failed ? dd_fail(DD_ENOMEM, "out of memory for a record") : DD_OK;
    if (st == DD_OK && s.len >= size) st = dd_fail(DD_EINVAL, "a normalisation of %zu characters is too long", s.len);
    if (st == DD_OK) memcpy(buf, s.p, s.len + 1);
    dd_str_free(&s);
    return st;
}

dd_status dd_expert_facts_of(dd_expert_facts *f, const dd_dataset *d, const dd_net *net)
{
    memset(f, 0, sizeof *f);
    DD_TRY(dd_utf8_check("the name of the data", d->name));
    if (strlen(dd_net_spec(net)) >= sizeof f->net)
        return dd_fail(DD_EINVAL, "a network's specification has at most %zu characters here, this one %zu",
                       sizeof f->net - 1, strlen(dd_net_spec(net)));
    snprintf(f->format, sizeof f->format, "%s", FORMAT);
    snprintf(f->net, sizeof f->net, "%s", dd_net_spec(net));
    f->parameters = dd_net_size(net);
    snprintf(f->data, sizeof f->data, "%s", d->name);
    snprintf(f->data_sha256, sizeof f->data_sha256, "%s", d->sha256);
    snprintf(f->normalisation, sizeof f->normalisation, "%s", d->normalisation);
    return seen_as(f->seen_as, sizeof f->seen_as, d);
}

dd_status dd_expert_facts_write(const dd_expert_facts *f, const char *dir)
{
    char path[1024], v[VALUE];
    dd_str s = {0};
    DD_TRY(path_of(path, sizeof path, dir));
    for (const dd_option *o = table; o->name; o++) {
        if (unsaid(f, o)) continue;
        (void)dd_options_get(table, f, o->name, v, sizeof v); /* the name is the table's own */
        dd_str_addf(&s, "%s  \"%s\": ", o == table ? "{\n" : ",\n", o->name);
        dd_str_quote(&s, v);
    }
    dd_str_add(&s, "\n}\n");
    const dd_status st = s.failed ? dd_fail(DD_ENOMEM, "out of memory for a record") : dd_write_file(path, s.p, s.len);
    dd_str_free(&s);
    return st;
}

static dd_status take(dd_expert_facts *f, const dd_json *doc, const dd_option *o, const char *path)
{
    const char *v = dd_json_string(dd_json_get(doc, o->name));
    if (!v && unsaid(f, o)) return DD_OK;
    if (!v) return dd_fail(DD_EFORMAT, "%s has no text \"%s\": it is no record of experts, or damaged", path, o->name);
    if (strlen(v) < DD_OPT_TEXT && dd_options_set(table, f, o->name, v) == DD_OK) return DD_OK;
    return dd_fail(DD_EFORMAT, "%s: \"%s\" is \"%.40s\", which cannot be: it is damaged", path, o->name, v);
}

static dd_status parse(dd_expert_facts *f, const dd_json *doc, const char *path)
{
    for (const dd_option *o = table; o->name; o++) {
        DD_TRY(take(f, doc, o, path));
        if (o == table && strcmp(f->format, FORMAT) != 0)
            return dd_fail(DD_EFORMAT, "%s has format \"%.40s\", \"%s\" is read here", path, f->format, FORMAT);
    }
    return DD_OK;
}

dd_status dd_expert_facts_read(dd_expert_facts *f, const char *dir)
{
    char path[1024];
    void *bytes;
    size_t size;
    dd_json *doc;
    memset(f, 0, sizeof *f);
    DD_TRY(path_of(path, sizeof path, dir));
    if (!dd_exists(path))
        return dd_fail(DD_ENOTFOUND, "%s holds no experts (there is no experts.json); attar experts trains them", dir);
    DD_TRY(dd_read_file(path, 1 << 20, &bytes, &size));
    dd_status s = dd_json_parse(&doc, bytes, size, path);
    dd_free(bytes);
    DD_TRY(s);
    s = parse(f, doc, path);
    dd_json_free(doc);
    return s;
}

/* A data set may lie elsewhere under another name, and a folder may grow: neither makes other experts. */
static bool free_to_change(const dd_option *o)
{
    return o->offset == AT(data) || o->offset == AT(expert_epochs);
}

static bool differs(const dd_expert_facts *a, const dd_expert_facts *b, const dd_option *o, char *va, char *vb)
{
    (void)dd_options_get(table, a, o->name, va, VALUE);
    (void)dd_options_get(table, b, o->name, vb, VALUE);
    return strcmp(va, vb) != 0;
}

dd_status dd_expert_facts_same(const dd_expert_facts *then, const dd_expert_facts *now, const char *dir)
{
    char a[VALUE], b[VALUE];
    for (const dd_option *o = table; o->name; o++)
        if (!free_to_change(o) && differs(then, now, o, a, b))
            return dd_fail(DD_EEXIST,
                           "%s holds experts with %s=%s, this call asks for %s; give the same value or another --out",
                           dir, o->name, a, b);
    return DD_OK;
}

dd_status dd_expert_facts_fit(const dd_expert_facts *then, const dd_expert_facts *now, const char *dir)
{
    char a[VALUE], b[VALUE];
    for (const dd_option *o = table; o->name && o->offset < AT(optimiser); o++)
        if (!free_to_change(o) && differs(then, now, o, a, b))
            return dd_fail(DD_EINVAL, "the experts in %s have %s=%s, but here it is %s; train others by attar experts",
                           dir, o->name, a, b);
    return DD_OK;
}

dd_status dd_expert_identity(const dd_expert_facts *f, char hex[65])
{
    char v[VALUE];
    dd_str s = {0};
    for (const dd_option *o = table; o->name; o++) {
        (void)dd_options_get(table, f, o->name, v, sizeof v);
        if (!free_to_change(o) && !unsaid(f, o)) dd_str_addf(&s, "%s=%s\n", o->name, v);
    }
    const dd_chunk c = {s.p, s.len};
    if (!s.failed) dd_sha256_hex(&c, 1, hex);
    const dd_status st = s.failed ? dd_fail(DD_ENOMEM, "out of memory for a record") : DD_OK;
    dd_str_free(&s);
    return st;
}

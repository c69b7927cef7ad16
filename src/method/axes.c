/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be combined with which method, from the rows of the table alone: what the driver refuses, and what `attar
 * methods --matrix` shows. Knows rows, and the names of networks. */
#include "attar/net.h"
#include "method/method_internal.h"

#include <stdio.h>
#include <string.h>

enum { VALUES = 6 };

/* Values of "net" are the networks, and this one. */
static const char batch_norm[] = "norm=batch";

static const struct {
    const char *name, *values[VALUES];
} axes[] = {
    {"labels", {"hard", "soft", "learned"}},
    {"init", {"real", "noise", "herding", "kcenter", "kmeans"}},
    {"aug", {"none", "dsa"}},
    {"net", {NULL}},
    {"precision", {"float32", "bf16"}},
    {"normalise", {"auto", "zca-mtt"}},
};

const char *dd_axis_name(int a)
{
    return a >= 0 && (size_t)a < DD_LEN(axes) ? axes[a].name : NULL;
}

const char *dd_axis_value(int a, int k)
{
    if (!dd_axis_name(a) || k < 0) return NULL;
    if (axes[a].values[0]) return k < VALUES ? axes[a].values[k] : NULL;
    if (k < dd_net_kind_count()) return dd_net_kind_name(k);
    return k == dd_net_kind_count() ? batch_norm : NULL;
}

/* Whether a list "a|b|c" holds the word. */
static bool word_in(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
        if ((at == list || at[-1] == '|') && (at[n] == 0 || at[n] == '|')) return true;
    return false;
}

/* A coreset consists of real images as they are. */
static dd_status coreset_means(const dd_method *m, const char *axis, const char *value)
{
    if (strcmp(axis, "precision") == 0 && strcmp(value, "bf16") == 0)
        return dd_fail(DD_EUNSUPPORTED,
                       "%s chooses real images and makes no iterations, so bf16 has nothing to hold: leave out "
                       "--precision",
                       m->name);
    if ((strcmp(axis, "init") == 0 && strcmp(value, "real") != 0) ||
        (strcmp(axis, "aug") == 0 && strcmp(value, "none") != 0))
        return dd_fail(DD_EUNSUPPORTED,
                       "%s=%s means nothing to method %s, which chooses real images and leaves them "
                       "as they are: leave it out",
                       axis, value, m->name);
    return DD_OK;
}

dd_status dd_method_means(const dd_method *m, const char *axis, const char *value)
{
    const char *labels = m->labels ? m->labels : "hard";
    if (strcmp(axis, "labels") == 0 && !word_in(labels, value))
        return dd_fail(DD_EUNSUPPORTED, "labels=%s means nothing to method %s, which takes %s", value, m->name, labels);
    if (strcmp(axis, "net") == 0 && strcmp(value, batch_norm) == 0 && m->not_batch)
        return dd_fail(DD_EUNSUPPORTED,
                       "batch norm means nothing to method %s: %s; choose another, such as "
                       "norm=instance",
                       m->name, m->not_batch);
    if (strcmp(axis, "aug") == 0 && strcmp(value, "none") != 0 && m->not_aug)
        return dd_fail(DD_EUNSUPPORTED, "aug=%s means nothing to method %s: %s; leave it out", value, m->name,
                       m->not_aug);
    return m->iterations ? DD_OK : coreset_means(m, axis, value);
}

dd_status dd_method_takes(int i, const char *axis, const char *value)
{
    const dd_method *m = dd_method_at(i);
    if (!m) return dd_fail(DD_ENOTFOUND, "there is no method %d, they are 0 to %d", i, dd_method_count() - 1);
    return dd_method_means(m, axis, value);
}

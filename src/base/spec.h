/* SPDX-License-Identifier: Apache-2.0
 *
 * Specifications NAME[:key=value,...] of rows that have options: networks, kernels. */
#ifndef ATTAR_BASE_SPEC_H
#define ATTAR_BASE_SPEC_H
#include "attar/options.h"
#include "base/memory.h"

/* A table and the struct that it fills; a key belongs to the first table that has it. */
typedef struct dd_spec_part {
    const dd_option *table;
    void *dst;
    bool sparse; /* the canonical form leaves out what is the default */
} dd_spec_part;

/* Another name of a row, with options set. */
typedef struct dd_spec_alias {
    const char *alias, *name, *options;
} dd_spec_alias;

/* The row of `spec`, up to its colon and in any case: its place in names (NULL-terminated) or that of what an alias
 * (ends with a NULL) stands for; *options: that alias's, or "". DD_ENOTFOUND names the nearest. */
dd_status dd_spec_find(int *row, const char **options, const char *spec, const char *what, const char *const *names,
                       const dd_spec_alias *aliases);
/* Sets "key=value,key=value"; what: "network", name: whose options they are, both for messages. Errors of
 * dd_options_set. */
dd_status dd_spec_set(const dd_spec_part *part, int n, const char *what, const char *name, const char *text);
/* NAME:key=value,... of every option. The caller frees *out. */
dd_status dd_spec_canonical(char **out, const dd_spec_part *part, int n, const char *name);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Option tables: one row says name, type, place in a struct, default, range and help. Parsing, help, manual
 * page, completion, set.json and "nearest name" messages all read the same row. */
#ifndef ATTAR_OPTIONS_H
#define ATTAR_OPTIONS_H
#include "attar/status.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef enum dd_option_type {
    DD_OPT_INT,    /* int64_t */
    DD_OPT_REAL,   /* double */
    DD_OPT_BOOL,   /* bool: true/false/yes/no/on/off/1/0 */
    DD_OPT_STRING, /* char[DD_OPT_TEXT] inside the struct */
    DD_OPT_CHOICE  /* char[DD_OPT_TEXT], one of `choices` ("a|b|c") */
} dd_option_type;

#define DD_OPT_TEXT 1024

/* A table ends with a row whose name is NULL. */
typedef struct dd_option {
    const char *name; /* "lr_img" */
    dd_option_type type;
    size_t offset;       /* offsetof(struct, field) */
    const char *def;     /* default, in the syntax of the value */
    double min, max;     /* inclusive range for INT and REAL; both 0: any */
    const char *choices; /* CHOICE only */
    const char *help;    /* one sentence */
} dd_option;

/* Fills *dst with every row's default. A default that does not parse is a programming error: DD_EINVAL. */
dd_status dd_options_defaults(const dd_option *table, void *dst);
/* Whether a row of that name is there. */
bool dd_options_has(const dd_option *table, const char *name);
/* DD_ENOTFOUND for a name that is in neither table; `also` may be NULL, and names what all methods have. */
dd_status dd_options_unknown(const dd_option *table, const dd_option *also, const char *name);
/* Sets one value. DD_ENOTFOUND for an unknown name (the message names the nearest right one), DD_EINVAL for a
 * value that does not parse or is out of range (the message says the range). */
dd_status dd_options_set(const dd_option *table, void *dst, const char *name, const char *value);
/* Writes the value in the syntax dd_options_set reads. */
dd_status dd_options_get(const dd_option *table, const void *src, const char *name, char *buf, size_t size);
/* The entry of names (NULL-terminated) nearest to `word` in edit distance, or NULL if none is near. */
const char *dd_nearest(const char *word, const char *const *names);

#ifdef __cplusplus
}
#endif
#endif

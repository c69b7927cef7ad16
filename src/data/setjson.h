/* SPDX-License-Identifier: Apache-2.0
 *
 * set.json of a synthetic set: the facts that must agree with set.safetensors. */
#ifndef ATTAR_DATA_SETJSON_H
#define ATTAR_DATA_SETJSON_H
#include "attar/data.h"

typedef struct dd_setfacts {
    char sha256[65];
    int64_t shape[4]; /* M, C, H, W */
    int64_t classes;
    char **class_names;
    double mean[16], std[16];
    char whitening[32]; /* the variant, "": none */
    char whitening_sha256[65];
} dd_setfacts;

/* Reads the facts and checks their form; class_names is the caller's, see dd_setfacts_fini. DD_EFORMAT. */
dd_status dd_setfacts_parse(dd_setfacts *f, const char *text, size_t size, const char *what);
void dd_setfacts_fini(dd_setfacts *f);
/* `json` with "sha256" set to `hash`, "whitening" to the set's variant and `whitening` (NULL: none), its hash, and
 * shape, class_names, mean and std added where absent; the rest of the text is untouched, so saving what was loaded
 * gives the same bytes. *out is dd_free'd. DD_EINVAL: json is no object. */
dd_status dd_setfacts_complete(char **out, const char *json, const dd_synset *s, const char *hash,
                               const char *whitening);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * set.json: what is accepted must survive being completed and read again. */
#include "base/memory.h"
#include "data/setjson.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

/* Completes the text as saving would; the result must be readable. */
static void complete(const char *text, const dd_setfacts *f)
{
    dd_synset s = {.m = 1, .c = 1, .h = 1, .w = 1, .classes = f->classes, .class_names = f->class_names};
    dd_setfacts again;
    char *out;
    if (dd_setfacts_complete(&out, text, &s, f->sha256, NULL) != DD_OK) return;
    if (dd_setfacts_parse(&again, out, strlen(out), "again") != DD_OK) abort();
    dd_setfacts_fini(&again);
    dd_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dd_setfacts f;
    if (dd_setfacts_parse(&f, (const char *)data, size, "set.json") != DD_OK) return 0;
    char *text = calloc(size + 1, 1);
    if (text) {
        memcpy(text, data, size);
        complete(text, &f);
    }
    free(text);
    dd_setfacts_fini(&f);
    return 0;
}

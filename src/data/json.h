/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON, read only. json.c is the only file that knows jansson. Values are borrowed from the document. */
#ifndef ATTAR_DATA_JSON_H
#define ATTAR_DATA_JSON_H
#include "attar/status.h"

typedef struct dd_json dd_json;
/* Refuses anything but one object, duplicate keys and trailing text: DD_EFORMAT with line and column. */
dd_status dd_json_parse(dd_json **out, const char *text, size_t size, const char *what);
void dd_json_free(dd_json *doc);
const dd_json *dd_json_get(const dd_json *object, const char *key); /* NULL: no such key or no object */
size_t dd_json_count(const dd_json *array);                         /* 0 for anything but an array */
const dd_json *dd_json_at(const dd_json *array, size_t i);
bool dd_json_is_array(const dd_json *v);
const char *dd_json_string(const dd_json *v);     /* NULL: not a string */
bool dd_json_int(const dd_json *v, int64_t *out); /* false: not an integer */
bool dd_json_real(const dd_json *v, double *out); /* false: not a number */
/* Members in file order: start with NULL, ends with NULL. */
void *dd_json_next(const dd_json *object, void *iter);
const char *dd_json_key(void *iter);
const dd_json *dd_json_value(void *iter);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A thin cover over jansson, so that its header and its habits (error structs, iterators, reference counts) stay in
 * one file. Knows base. jansson allocates from the plain heap: its hooks are process-wide and not ours to set. */
#include "data/json.h"
#include <jansson.h>

static const json_t *in(const dd_json *v)
{
    return (const json_t *)v;
}

/* jansson's getters take non-const objects although they do not change them. */
static json_t *mut(const dd_json *v)
{
    return (json_t *)(uintptr_t)v;
}

dd_status dd_json_parse(dd_json **out, const char *text, size_t size, const char *what)
{
    json_error_t e;
    json_t *doc = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
    *out = NULL;
    if (!doc) return dd_fail(DD_EFORMAT, "%s: no valid JSON, line %d column %d: %s", what, e.line, e.column, e.text);
    if (!json_is_object(doc)) {
        json_decref(doc);
        return dd_fail(DD_EFORMAT, "%s: the JSON text is no object", what);
    }
    *out = (dd_json *)doc;
    return DD_OK;
}

void dd_json_free(dd_json *doc)
{
    json_decref((json_t *)doc);
}

const dd_json *dd_json_get(const dd_json *object, const char *key)
{
    return (const dd_json *)json_object_get(in(object), key);
}

size_t dd_json_count(const dd_json *array)
{
    return json_array_size(in(array));
}

const dd_json *dd_json_at(const dd_json *array, size_t i)
{
    return (const dd_json *)json_array_get(in(array), i);
}

bool dd_json_is_array(const dd_json *v)
{
    return json_is_array(in(v));
}

const char *dd_json_string(const dd_json *v)
{
    return json_string_value(in(v));
}

bool dd_json_int(const dd_json *v, int64_t *out)
{
    if (!json_is_integer(in(v))) return false;
    *out = (int64_t)json_integer_value(in(v));
    return true;
}

bool dd_json_real(const dd_json *v, double *out)
{
    if (!json_is_number(in(v))) return false;
    *out = json_number_value(in(v));
    return true;
}

void *dd_json_next(const dd_json *object, void *iter)
{
    return iter ? json_object_iter_next(mut(object), iter) : json_object_iter(mut(object));
}

const char *dd_json_key(void *iter)
{
    return json_object_iter_key(iter);
}

const dd_json *dd_json_value(void *iter)
{
    return (const dd_json *)json_object_iter_value(iter);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of methods, made from methods.def, and the public view of it. Knows the rows only. */
#include "method/method_internal.h"

#include <string.h>

#define DD_METHOD(id) extern const dd_method dd_method_##id;
#include "method/methods.def"
#undef DD_METHOD

static const dd_method *const table[] = {
#define DD_METHOD(id) &dd_method_##id,
#include "method/methods.def"
#undef DD_METHOD
};

const dd_method *dd_method_at(int i)
{
    return i >= 0 && i < (int)DD_LEN(table) ? table[i] : NULL;
}

int dd_method_count(void)
{
    return (int)DD_LEN(table);
}

const char *dd_method_name(int i)
{
    return dd_method_at(i) ? dd_method_at(i)->name : NULL;
}

const char *dd_method_title(int i)
{
    return dd_method_at(i) ? dd_method_at(i)->title : NULL;
}

const char *dd_method_cite(int i)
{
    return dd_method_at(i) ? dd_method_at(i)->cite : NULL;
}

int dd_method_order(int i)
{
    return dd_method_at(i) ? dd_method_at(i)->order : 0;
}

const char *dd_method_cost(int i)
{
    return dd_method_at(i) ? dd_method_at(i)->cost : NULL;
}

const char *dd_method_memory(int i)
{
    return dd_method_at(i) ? dd_method_at(i)->memory : NULL;
}

const dd_option *dd_method_options(int i)
{
    return dd_method_at(i) ? dd_method_at(i)->options : NULL;
}

dd_status dd_method_find(const dd_method **out, const char *name)
{
    const char *names[DD_LEN(table) + 1] = {NULL};
    for (size_t i = 0; i < DD_LEN(table); i++) {
        names[i] = table[i]->name;
        if (strcmp(name, table[i]->name) == 0) {
            *out = table[i];
            return DD_OK;
        }
    }
    const char *near = dd_nearest(name, names);
    return near ? dd_fail(DD_ENOTFOUND, "unknown method \"%s\"; did you mean \"%s\"?", name, near)
                : dd_fail(DD_ENOTFOUND, "unknown method \"%s\"; attar methods lists all %d", name, dd_method_count());
}

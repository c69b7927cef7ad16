/* SPDX-License-Identifier: Apache-2.0
 *
 * The last message of each thread. Knows the C library only. */
#include "attar/status.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last[1024];

const char *dd_last_error(void)
{
    return last;
}

dd_status dd_fail(dd_status code, const char *fmt, ...)
{
    /* formatted aside first: an argument may be the last message itself */
    char text[sizeof last];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(last, sizeof last, "%s", text);
    return code;
}

const char *dd_status_name(dd_status s)
{
    switch (s) {
    case DD_OK: return "ok";
    case DD_EINVAL: return "invalid argument";
    case DD_EFORMAT: return "bad format";
    case DD_EIO: return "input or output failed";
    case DD_ENOMEM: return "out of memory";
    case DD_ENOTFOUND: return "not found";
    case DD_EEXIST: return "already exists";
    case DD_EUNSUPPORTED: return "unsupported";
    case DD_ENUMERIC: return "numeric failure";
    case DD_EINTERRUPTED: return "interrupted";
    }
    return "unknown status";
}

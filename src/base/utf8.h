/* SPDX-License-Identifier: Apache-2.0
 *
 * Records are JSON, which is UTF-8: what they cannot hold is said before the work rather than after it. */
#ifndef ATTAR_BASE_UTF8_H
#define ATTAR_BASE_UTF8_H
#include "attar/status.h"

/* DD_EINVAL names `what`, the first byte that is not UTF-8 (RFC 3629) and its place, from 1. */
dd_status dd_utf8_check(const char *what, const char *text);
#endif

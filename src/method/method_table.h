/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of methods, for the driver and tests. */
#ifndef ATTAR_METHOD_TABLE_H
#define ATTAR_METHOD_TABLE_H
#include "method/method_internal.h"
const dd_method *dd_method_at(int i); /* NULL out of range */
#endif

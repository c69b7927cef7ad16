/* SPDX-License-Identifier: Apache-2.0
 *
 * The row functions in double precision. */
#define REAL double
#define M(name) name
#define ROWS dd_cpu_rows_f64
#include "backend/cpu/cpu_vectors.h"
#include "backend/cpu/cpu_rows.inc"

/* SPDX-License-Identifier: Apache-2.0
 *
 * The row functions in single precision. */
#define REAL float
#define M(name) name##f
#define ROWS dd_cpu_rows_f32
#include "backend/cpu/cpu_vectors.h"
#include "backend/cpu/cpu_rows.inc"

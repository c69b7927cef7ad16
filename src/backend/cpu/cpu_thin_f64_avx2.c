/* SPDX-License-Identifier: Apache-2.0
 *
 * Thin products in double precision; compiled for AVX2 and FMA. */
#define REAL double
#define LANES 4
#define ROWS 6
#define HIGH 3
#define TABLE dd_thin_f64_avx2
#include "backend/cpu/cpu_thin.inc"

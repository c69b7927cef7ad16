/* SPDX-License-Identifier: Apache-2.0
 *
 * Thin products in double precision; compiled for AVX-512. */
#define REAL double
#define LANES 8
#define ROWS 13
#define HIGH 7
#define TABLE dd_thin_f64_avx512
#include "backend/cpu/cpu_thin.inc"

/* SPDX-License-Identifier: Apache-2.0
 *
 * Thin products in single precision; compiled for AVX2 and FMA. */
#define REAL float
#define LANES 8
#define ROWS 6
#define HIGH 3
#define TABLE dd_thin_f32_avx2
#include "backend/cpu/cpu_thin.inc"

/* SPDX-License-Identifier: Apache-2.0
 *
 * Thin products in single precision; compiled for AVX-512. */
#define REAL float
#define LANES 16
#define ROWS 13
#define HIGH 7
#define TABLE dd_thin_f32_avx512
#include "backend/cpu/cpu_thin.inc"

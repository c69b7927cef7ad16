/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of 8 rows; compiled for AVX2 and FMA. */
#define LANES 8
#define TABLE dd_stripes_avx2
#include "backend/cpu/cpu_stripes.inc"

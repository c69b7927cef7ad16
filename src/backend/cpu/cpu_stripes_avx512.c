/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of 16 rows; compiled for AVX-512. */
#define LANES 16
#define TABLE dd_stripes_avx512
#include "backend/cpu/cpu_stripes.inc"

/* SPDX-License-Identifier: Apache-2.0
 *
 * Winograd's convolution with 8 lanes and 16 registers; compiled for AVX2 and FMA. */
#define LANES 8
#define BLOCK 6
#define TABLE dd_wino_avx2
#include "backend/cpu/cpu_winograd.inc"

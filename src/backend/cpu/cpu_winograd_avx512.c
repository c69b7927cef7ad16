/* SPDX-License-Identifier: Apache-2.0
 *
 * Winograd's convolution with 16 lanes and 32 registers; compiled for AVX-512. */
#define LANES 16
#define BLOCK 12
#define TABLE dd_wino_avx512
#include "backend/cpu/cpu_winograd.inc"

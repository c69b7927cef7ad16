/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of few channels with 8 lanes and 16 registers; compiled for AVX2 and FMA. */
#define LANES 8
#define SUMS 12
#define TABLE dd_few_avx2
#include "backend/cpu/cpu_conv_few.inc"

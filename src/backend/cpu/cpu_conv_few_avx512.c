/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of few channels with 16 lanes and 32 registers; compiled for AVX-512. */
#define LANES 16
#define SUMS 18
#define TABLE dd_few_avx512
#include "backend/cpu/cpu_conv_few.inc"

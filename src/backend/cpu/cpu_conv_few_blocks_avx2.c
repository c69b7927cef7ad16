/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of few channels in blocks of 8; compiled for AVX2 and FMA. */
#define LANES 8
#define TABLE dd_few_blocks_avx2
#include "backend/cpu/cpu_conv_few_blocks.inc"

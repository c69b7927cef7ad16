/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of few channels in blocks of 16; compiled for AVX-512. */
#define LANES 16
#define TABLE dd_few_blocks_avx512
#include "backend/cpu/cpu_conv_few_blocks.inc"

/* SPDX-License-Identifier: Apache-2.0
 *
 * The yardstick with 16 lanes; compiled for AVX-512. */
#define LANES 16
#define SUMS (DD_SPIN_AVX512 / LANES)
#define SPIN dd_cpu_spin_avx512
#include "backend/cpu/cpu_peak.inc"

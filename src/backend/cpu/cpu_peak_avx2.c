/* SPDX-License-Identifier: Apache-2.0
 *
 * The yardstick with 8 lanes; compiled for AVX2 and FMA. */
#define LANES 8
#define SUMS (DD_SPIN_AVX2 / LANES)
#define SPIN dd_cpu_spin_avx2
#include "backend/cpu/cpu_peak.inc"

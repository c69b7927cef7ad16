/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference kernels in double precision. */
#define REAL double
#define TABLE dd_ref_f64
#include "backend/ref/ref_kernels.inc"

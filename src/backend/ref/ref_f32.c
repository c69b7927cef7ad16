/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference kernels in single precision. */
#define REAL float
#define TABLE dd_ref_f32
#include "backend/ref/ref_kernels.inc"

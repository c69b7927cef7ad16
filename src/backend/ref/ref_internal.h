/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of reference kernels that ref.c chooses from. Seen by ref/ only. */
#ifndef ATTAR_BACKEND_REF_INTERNAL_H
#define ATTAR_BACKEND_REF_INTERNAL_H
#include "backend/backend.h"

/* The dense kernel of a kind in one precision; NULL if the kind is not dense arithmetic. */
dd_kernel dd_ref_f32(dd_kind kind);
dd_kernel dd_ref_f64(dd_kind kind);
/* The kernel of a kind that works on any mixture of f32, f64 and i32; NULL for the others. */
dd_kernel dd_ref_any(dd_kind kind);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluation by kernel ridge regression. Seen by eval/ only. */
#ifndef ATTAR_EVAL_KRR_H
#define ATTAR_EVAL_KRR_H
#include "attar/eval.h"

/* Fraction right on items of a split (NULL: its first nitems) of the regression with p->kernel and p->ridge on the set.
 * labels I32 [m], or F32 [m,classes], which are regressed as they are. DD_ENUMERIC: no regulariser up to 10^8 times
 * that gives a factor. */
dd_status dd_krr_accuracy(double *accuracy, dd_backend *b, const dd_dataset *d, const dd_tensor *images,
                          const dd_tensor *labels, const dd_split *split, const int32_t *items, int64_t nitems,
                          const dd_protocol *p);
#endif

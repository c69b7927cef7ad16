/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluation by kernel ridge regression. Seen by eval/ and, for what it costs, method/. */
#ifndef ATTAR_EVAL_KRR_H
#define ATTAR_EVAL_KRR_H
#include "attar/eval.h"
#include "attar/kernel.h"

/* Fraction right on items of a split (NULL: its first nitems) of the regression with p->kernel and p->ridge on the set.
 * labels I32 [m], or F32 [m,classes], which are regressed as they are. *ridge is what it took, more
 * than p->ridge where the matrix had no factor. DD_ENUMERIC: no regulariser up to 10^8 times that gives one, or a
 * prediction is no number. `told` hears how many of all test images are done, after each dd_krr_tests of them and now
 * and then before the first; what it returns but DD_OK ends the test. */
dd_status dd_krr_accuracy(double *accuracy, double *ridge, dd_backend *b, const dd_dataset *d, const dd_tensor *images,
                          const dd_tensor *labels, const dd_split *split, const int32_t *items, int64_t nitems,
                          const dd_protocol *p, dd_status (*told)(void *self, int64_t done, int64_t all), void *self);
/* Test images that pass at a time; fewer where a pair of images has many cells. */
int64_t dd_krr_tests(const dd_kernel *k);
#endif

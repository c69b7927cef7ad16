/* SPDX-License-Identifier: Apache-2.0
 *
 * dd_gradient in its parts, so that the benchmarks can repeat the part that computes. Seen by method/ and bench/. */
#ifndef ATTAR_METHOD_GRADIENT_H
#define ATTAR_METHOD_GRADIENT_H
#include "attar/method.h"

typedef struct dd_gradient_job dd_gradient_job;

/* The method of `o`, compiled, on the tensors of the file `path` as dd_gradient describes them; the caller closes it.
 */
dd_status dd_gradient_open(dd_gradient_job **out, const dd_distill_opts *o, const char *path, dd_dtype type);
/* Loss and gradients, the same whenever it is called. */
dd_status dd_gradient_compute(dd_gradient_job *j, double *loss);
/* What the last call computed, into a file as dd_gradient writes it. */
dd_status dd_gradient_write(const dd_gradient_job *j, const char *path);
void dd_gradient_close(dd_gradient_job *j);
#endif

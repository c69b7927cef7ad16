/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel ridge regression in graphs, and how it is run where a matrix has no factor. Knows graph, exec. */
#ifndef ATTAR_NN_KRR_H
#define ATTAR_NN_KRR_H
#include "attar/program.h"

/* (K + ridge tr(K)/n I)^-1 Y, in double whatever the types are: kss [n,n], y [n,C], ridge F64 scalar -> F64 [n,C]. The
 * regulariser moves with the trace, so that a factor of K changes no prediction (Nguyen, Chen, Lee 2021). A program
 * whose matrix has no Cholesky factor ends with DD_ENUMERIC. */
dd_val dd_krr_weights(dd_graph *g, dd_val kss, dd_val y, dd_val ridge);
/* Predictions [m,C] in the type of kst, the kernel of support and targets [n,m]. */
dd_val dd_krr_predict(dd_graph *g, dd_val kst, dd_val weights);
/* Runs p, to which the F64 scalar `factor` is bound, with that regulariser, and with ten times as much as often as
 * Cholesky fails, up to 10^8 times; of 0, 1e-12 is next. *factor holds what it took. DD_ENUMERIC: even that did not do.
 */
dd_status dd_krr_exec(dd_program *p, double *factor, double ridge);
/* Half the squared error, summed over the rest and divided by z. */
dd_val dd_krr_loss(dd_graph *g, dd_val predicted, dd_val y, double z);
#endif

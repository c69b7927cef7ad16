/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel ridge regression in graphs. Knows graph. */
#ifndef ATTAR_NN_KRR_H
#define ATTAR_NN_KRR_H
#include "attar/graph.h"

/* (K + ridge tr(K)/n I)^-1 Y, in double whatever the types are: kss [n,n], y [n,C], ridge F64 scalar -> F64 [n,C]. The
 * regulariser moves with the trace, so that a factor of K changes no prediction (Nguyen, Chen, Lee 2021). A program
 * whose matrix has no Cholesky factor ends with DD_ENUMERIC. */
dd_val dd_krr_weights(dd_graph *g, dd_val kss, dd_val y, dd_val ridge);
/* Predictions [m,C] in the type of kst, the kernel of support and targets [n,m]. */
dd_val dd_krr_predict(dd_graph *g, dd_val kst, dd_val weights);
/* Half the squared error, summed over the rest and divided by z. */
dd_val dd_krr_loss(dd_graph *g, dd_val predicted, dd_val y, double z);
#endif

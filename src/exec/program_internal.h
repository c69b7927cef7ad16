/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiling with passes left out, for tests that compare the results, and two programs of which one leaves values for
 * the other. Knows compile. */
#ifndef ATTAR_EXEC_PROGRAM_INTERNAL_H
#define ATTAR_EXEC_PROGRAM_INTERNAL_H
#include "attar/program.h"

/* leave_out: DD_NO_... of compile/compile.h. */
dd_status dd_compile_with(dd_program **out, const dd_graph *g, dd_backend *b, unsigned leave_out);
/* The programs of two graphs; what the second's carries (graph/carry.h) lies in both as the first leaves it. */
dd_status dd_compile_pair(dd_program **first, dd_program **second, const dd_graph *g, const dd_graph *h, dd_backend *b);
#endif

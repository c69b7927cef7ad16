/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiling with passes left out, for tests that compare the results. Knows compile. */
#ifndef ATTAR_EXEC_PROGRAM_INTERNAL_H
#define ATTAR_EXEC_PROGRAM_INTERNAL_H
#include "attar/program.h"

/* leave_out: DD_NO_... of compile/compile.h. */
dd_status dd_compile_with(dd_program **out, const dd_graph *g, dd_backend *b, unsigned leave_out);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Graphs that exist to be compiled, alone or as a pair of which one leaves values for the other. Knows graph. */
#ifndef ATTAR_EXEC_DRAFT_H
#define ATTAR_EXEC_DRAFT_H
#include "attar/program.h"

dd_status dd_draft(dd_graph **g); /* DD_ENOMEM */
/* dd_compile, and the graph is freed in any case. */
dd_status dd_compile_draft(dd_program **out, dd_graph *g, dd_backend *b);
/* The programs of two graphs; what the second's carries (graph/carry.h) lies in both as the first leaves it. Both NULL
 * where one fails. */
dd_status dd_compile_pair(dd_program **first, dd_program **second, const dd_graph *g, const dd_graph *h, dd_backend *b);
/* What the programs of a backend share, as large as the largest of them needs. */
typedef struct dd_exec_room {
    size_t arena, scratch; /* bytes */
} dd_exec_room;
dd_exec_room dd_exec_room_of(const dd_backend *b);
/* Back to what it was when the programs that are left were made: those that grew it since are freed. DD_ENOMEM. */
dd_status dd_exec_shrink(dd_backend *b, dd_exec_room to);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What one program computes and another would compute again, handed over instead: outputs of the one's graph, inputs of
 * the other's. Such a tensor lies as suits the two programs and is for nobody else to read; it is never bound to
 * another input or output of them. Two graphs that begin with the same calls of constructors have the same nodes under
 * the same ids as far as that goes, which is how one finds the other's. Seen by graph/, compile/, exec/ and method/. */
#ifndef ATTAR_GRAPH_CARRY_H
#define ATTAR_GRAPH_CARRY_H
#include "graph/node.h"

enum { DD_CARRY_MOST = 64 };

typedef struct dd_carry {
    int n;
    uint32_t id[DD_CARRY_MOST];
    char name[DD_CARRY_MOST][16];
    dd_shape shape[DD_CARRY_MOST];
    dd_dtype dtype[DD_CARRY_MOST];
} dd_carry;

/* Of the nodes below `end`, those worth handing over to the program of g, whose outputs need them beside what is handed
 * over already: contractions, with their bias, of some dozens of multiplications for each element. DD_ENOMEM. */
dd_status dd_carry_choose(const dd_graph *g, uint32_t end, dd_carry *out);
/* They become outputs of g. */
void dd_carry_out(dd_graph *g, const dd_carry *c);
/* *g anew, with inputs in their place. The graph that was is freed, in any case. DD_ENOMEM, g's first error. */
dd_status dd_carry_in(dd_graph **g, const dd_carry *c);
#endif

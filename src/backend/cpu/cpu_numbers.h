/* SPDX-License-Identifier: Apache-2.0
 *
 * What a row group need not store: a row's value as (x + c) a + b of the row x that it is made from, with the numbers
 * of many rows side by side so that they are computed as vectors. */
#ifndef ATTAR_BACKEND_CPU_NUMBERS_H
#define ATTAR_BACKEND_CPU_NUMBERS_H
#include "backend/backend.h"

typedef struct dd_numbers {
    double *c, *a, *b, *s; /* [rows]; s: the operand of the last step */
    double *unsafe;        /* not 0: the steps one by one may give something else: beyond floats, or not finite */
} dd_numbers;

enum { DD_NUMBERS = 5 }; /* arrays */

/* Five arrays of `rows` doubles that begin at p. */
dd_numbers dd_numbers_at(double *p, int64_t rows);
/* The numbers of a row that is the value itself. */
void dd_numbers_plain(const dd_numbers *to, int64_t rows);
/* The numbers after one more step, whose operand is in to->s: ADD, SUB, MUL, DIV by it, `first`: it minus the row, or
 * NEG. `shift`: all steps before were additions. x - m then stays one subtraction, so that a row in memory whose
 * elements are all equal becomes exactly 0 less its mean. */
void dd_numbers_step(dd_ew ew, bool first, bool shift, int64_t rows, const dd_numbers *from, const dd_numbers *to);
#endif

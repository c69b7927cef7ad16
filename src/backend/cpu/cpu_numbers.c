/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of the numbers of rows. Knows the instruction set's vector loops only. */
#include "backend/cpu/cpu_numbers.h"

#include "backend/cpu/cpu_internal.h"

#include <math.h>

#define HUGE_ENOUGH 1e30
#define SMALL_ENOUGH 1e-30

dd_numbers dd_numbers_at(double *p, int64_t rows)
{
    return (dd_numbers){p, p + rows, p + 2 * rows, p + 3 * rows, p + 4 * rows};
}

void dd_numbers_plain(const dd_numbers *to, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) {
        to->a[r] = 1;
        to->c[r] = to->b[r] = to->s[r] = to->unsafe[r] = 0;
    }
}

/* Not a number counts as beyond. */
static inline double beyond(double v)
{
    return fabs(v) < HUGE_ENOUGH ? 0.0 : 1.0;
}

#define STEP(name, new_c, new_a, new_b)                                                                                \
    DD_SIMD static void name(int64_t rows, const dd_numbers *from, const dd_numbers *to)                               \
    {                                                                                                                  \
        const double *restrict fc = from->c, *restrict fa = from->a, *restrict fb = from->b;                           \
        const double *restrict fu = from->unsafe, *restrict ts = to->s;                                                \
        double *restrict tc = to->c, *restrict ta = to->a, *restrict tb = to->b, *restrict tu = to->unsafe;            \
        _Pragma("omp simd") for (int64_t r = 0; r < rows; r++)                                                         \
        {                                                                                                              \
            const double s = ts[r], c = fc[r], a = fa[r], b = fb[r];                                                   \
            const double nc = (new_c), na = (new_a), nb = (new_b);                                                     \
            const double lost = fabs(na) < SMALL_ENOUGH ? (s != 0 ? 1.0 : 0.0) : 0.0;                                  \
            tc[r] = nc;                                                                                                \
            ta[r] = na;                                                                                                \
            tb[r] = nb;                                                                                                \
            tu[r] = fu[r] + beyond(s) + beyond(nc) + beyond(na) + beyond(nb) + lost;                                   \
        }                                                                                                              \
    }

STEP(add_shift, c + s, a, b)
STEP(add, c, a, b + s)
STEP(sub_shift, c - s, a, b)
STEP(sub, c, a, b - s)
STEP(sub_from, c, -a, s - b)
STEP(mul, c, a *s, b *s)
STEP(divide, c, a / s, b / s)
STEP(neg, c, -a, -b)

void dd_numbers_step(dd_ew ew, bool first, bool shift, int64_t rows, const dd_numbers *from, const dd_numbers *to)
{
    switch (ew) {
    case DD_EW_ADD: (shift ? add_shift : add)(rows, from, to); break;
    case DD_EW_SUB: (first ? sub_from : shift ? sub_shift : sub)(rows, from, to); break;
    case DD_EW_MUL: mul(rows, from, to); break;
    case DD_EW_DIV: divide(rows, from, to); break;
    default: neg(rows, from, to);
    }
}

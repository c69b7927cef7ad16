/* SPDX-License-Identifier: Apache-2.0
 *
 * The row functions in single precision. */
#define REAL float
#define M(name) name##f
#define ROWS dd_cpu_rows_f32
#include "backend/cpu/cpu_vectors.h"

/* asin(x)/(2 pi x) of z = x^2 up to 1/4, to 5e-9 of it: through the Chebyshev nodes. */
static inline REAL turn_of_sine(REAL z)
{
    REAL y = 0.0067509347068485985f;
    y = y * z + 0.0038187636494232385f;
    y = y * z + 0.0072448341734724354f;
    y = y * z + 0.011928180247779787f;
    y = y * z + 0.026526007416541991f;
    y = y * z + 0.15915494245268739f;
    return y;
}
#include "backend/cpu/cpu_rows.inc"

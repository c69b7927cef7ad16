/* SPDX-License-Identifier: Apache-2.0
 *
 * The row functions in double precision. */
#define REAL double
#define M(name) name
#define ROWS dd_cpu_rows_f64
#include "backend/cpu/cpu_vectors.h"

/* asin(x)/(2 pi x) of z = x^2 up to 1/4, to 2e-17 of it: through the Chebyshev nodes. */
static inline REAL turn_of_sine(REAL z)
{
    REAL y = 0.0050737993298375361;
    y = y * z - 0.0025763034957925464;
    y = y * z + 0.0031056649290535452;
    y = y * z + 0.0010391706889936468;
    y = y * z + 0.0019369377150925844;
    y = y * z + 0.0022098413698759344;
    y = y * z + 0.0027628947409068993;
    y = y * z + 0.0035605745556478497;
    y = y * z + 0.0048354390667053358;
    y = y * z + 0.0071051313344183934;
    y = y * z + 0.011936620732505218;
    y = y * z + 0.026525823848646476;
    y = y * z + 0.15915494309189534;
    return y;
}
#include "backend/cpu/cpu_rows.inc"

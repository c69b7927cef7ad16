/* SPDX-License-Identifier: Apache-2.0
 *
 * One step of a method in attar, for bench/run: what `attar grad` computes from a file, timed several times over.
 *
 *   bench_gradients IN OUT THREADS RUNS TUNE METHOD IPC NET AUG [KEY=VALUE ...]
 *   bench_gradients           prints the OPENBLAS_CORETYPE to run with, if one is needed
 *
 * Loss and gradients from IN go into OUT (docs/compare.md describes both); no update follows. One run warms up, RUNS
 * more are timed; RUNS 0 times the first. TUNE is the file of measured kernels. Prints one JSON object: median seconds,
 * peak resident bytes.
 */
#include "base/fs.h"
#include "base/memory.h"
#include "method/gradient.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 99 };

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static dd_status timed(dd_gradient_job *j, int runs, double *seconds)
{
    double t[MOST + 1], loss;
    for (int i = 0; i <= runs; i++) {
        const double start = dd_now();
        DD_TRY(dd_gradient_compute(j, &loss));
        t[i] = dd_now() - start;
    }
    if (runs) qsort(t + 1, (size_t)runs, sizeof *t, by_value);
    *seconds = runs ? t[1 + runs / 2] : t[0];
    return DD_OK;
}

static dd_status run(char **argv)
{
    const int runs = atoi(argv[4]);
    dd_distill_opts o;
    dd_gradient_job *j;
    double seconds;
    DD_TRY(dd_distill_defaults(&o));
    o.threads = atoi(argv[3]);
    snprintf(o.tune, sizeof o.tune, "%s", argv[5]);
    snprintf(o.method, sizeof o.method, "%s", argv[6]);
    o.ipc = atoi(argv[7]);
    snprintf(o.net, sizeof o.net, "%s", argv[8]);
    snprintf(o.aug, sizeof o.aug, "%s", argv[9]);
    o.sets = (const char *const *)argv + 10;
    if (runs < 0 || runs > MOST) return dd_fail(DD_EINVAL, "%d runs; there are 0 to %d", runs, MOST);
    DD_TRY(dd_gradient_open(&j, &o, argv[1], DD_F32));
    dd_status s = timed(j, runs, &seconds);
    if (s == DD_OK) printf("{\"seconds\": %.6g, \"peak_bytes\": %lld}\n", seconds, (long long)dd_peak_memory());
    if (s == DD_OK) s = dd_gradient_write(j, argv[2]);
    dd_gradient_close(j);
    return s;
}

int main(int argc, char **argv)
{
    const char *core = dd_backend_blas_core();
    if (argc == 1) puts(core ? core : "");
    if (argc == 1) return 0;
    if (argc < 10) {
        fputs("usage: bench_gradients IN OUT THREADS RUNS TUNE METHOD IPC NET AUG [KEY=VALUE ...]\n", stderr);
        return 2;
    }
    const dd_status s = run(argv);
    if (s != DD_OK) fprintf(stderr, "bench_gradients: %s\n", dd_last_error());
    return s == DD_OK ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiled programs: bind tensors to the graph's inputs and outputs, run many times, allocate nothing. */
#ifndef ATTAR_PROGRAM_H
#define ATTAR_PROGRAM_H
#include "attar/graph.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct dd_program dd_program;
typedef struct dd_backend dd_backend;

/* A backend and its programs are used by one thread at a time.
 * "ref" (obvious C, f32 and f64, the oracle) or "cpu" (oneDNN, OpenBLAS, OpenMP). threads <= 0: all cores.
 * DD_ENOTFOUND, DD_ENOMEM. */
dd_status dd_backend_open(dd_backend **out, const char *name, int threads);
void dd_backend_close(dd_backend *b);
/* How programs compiled from now on hold what lies between convolutions: "float32", or "bf16", half the memory, all
 * arithmetic still in float32. DD_ENOTFOUND: another name; DD_EUNSUPPORTED: bf16 with this backend or processor. */
dd_status dd_backend_precision(dd_backend *b, const char *name);
const char *dd_backend_name(const dd_backend *b);
/* OpenBLAS takes a processor that is younger than itself for an old one and leaves its vectors unused: products then
 * take six times as long. The name of the core whose kernels fit; a program is to be started with it as
 * OPENBLAS_CORETYPE in its environment, which OpenBLAS reads as it is loaded. NULL: nothing to gain, or the user has
 * chosen. */
const char *dd_backend_blas_core(void);

/* A program with which tensors, programs and what comes with any process (32 MiB) would be more than so many bytes is
 * refused with DD_ENOMEM when it is compiled. The programs of a backend share what lies between their inputs and
 * outputs. 0: any. */
void dd_backend_limit(dd_backend *b, int64_t bytes);
bool dd_backend_limited(const dd_backend *b);
/* From now on the kernel of a convolution is chosen by measurement, once for a shape and number of threads, and what
 * was measured is kept in the file at `path`, whose folder exists; a file of another processor or build is begun anew.
 * NULL: by rules that look at the shape alone. Programs that are compiled stay as they are. DD_EUNSUPPORTED: this
 * backend has nothing to choose; DD_ENOMEM; a file that cannot be read or written only means that the next process
 * measures again. */
dd_status dd_backend_tune(dd_backend *b, const char *path);
/* Writes what is known to another file, which dd_backend_recall reads: a run that goes on then has the kernels that it
 * began with, whatever was measured since. recall puts what the file says in place of what is known and adds to no file
 * from then on; a file of another processor or build is DD_EFORMAT. DD_EIO, DD_ENOMEM. Neither does anything for a
 * backend that is not tuned. */
dd_status dd_backend_remember(const dd_backend *b, const char *path);
dd_status dd_backend_recall(dd_backend *b, const char *path);
typedef struct dd_tune_row {
    char shape[80];
    double ours, theirs; /* seconds of one run: our kernel, the library's */
} dd_tune_row;
/* Writes at most `most` rows of what is known of shapes that programs of this backend have, and returns how many. Both
 * times are 1 where there was nothing to compare. */
int dd_backend_tune_rows(const dd_backend *b, dd_tune_row *rows, int most);

/* One kind of instruction, contractions apart by shape, over all programs of the backend since profiling began. */
typedef struct dd_profile_row {
    char name[64];
    int64_t runs;
    double seconds, flop, bytes; /* sums over runs; flop counts contractions, bytes what operands cover */
} dd_profile_row;
/* Begins anew, or stops and forgets. While it is on, each instruction is timed. DD_ENOMEM. */
dd_status dd_backend_profile(dd_backend *b, bool on);
/* Writes at most `most` rows, the slowest first, and returns how many. */
int dd_backend_profile_rows(const dd_backend *b, dd_profile_row *rows, int most);
/* Float32 FLOP/s that the backend's threads reach in registers, measured now (a tenth of a second); 0: unknown. */
double dd_backend_peak(dd_backend *b);

typedef struct dd_program_stats {
    int64_t nodes;  /* live graph nodes */
    int64_t instrs; /* instructions of one run */
    int64_t arena;  /* bytes of planned memory, scratch included; programs of a backend share it, but for constants */
    int64_t unplanned; /* what the values would take without reuse */
    double flop;       /* contraction FLOP of one run */
    int64_t blocked;   /* tensors that lie in blocks of channels */
    int64_t groups;    /* row groups among them: chains of steps that share one pass over memory */
} dd_program_stats;

/* Compiles everything the graph's outputs need. Reports the graph's first construction error. The graph may be
 * freed afterwards; the backend must outlive the program. */
dd_status dd_compile(dd_program **out, const dd_graph *g, dd_backend *b);
void dd_program_free(dd_program *p);
/* Binds a tensor to an input or output by name; borrowed until rebound. dtype and element count must agree.
 * DD_ENOTFOUND for a name the graph does not have; binding an input that the program does not need is allowed. */
dd_status dd_bind(dd_program *p, const char *name, const dd_tensor *t);
/* Runs. DD_EINVAL names an input or output nothing is bound to; DD_ENUMERIC for a failed factorisation. An
 * output may be bound to the same tensor as an input (the whole of it, not an overlapping part; it is written after the
 * last read). */
dd_status dd_exec(dd_program *p);
dd_program_stats dd_program_statistics(const dd_program *p);

#ifdef __cplusplus
}
#endif
#endif

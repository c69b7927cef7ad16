/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of op cases and the harness that turns a case into programs. Every test of this folder iterates over the
 * table, so an op that has a row in it is tested for its value, its gradients and its closure by that fact alone.
 * Knows graph/node.h and the public headers. */
#ifndef ATTAR_TESTS_OP_CASES_H
#define ATTAR_TESTS_OP_CASES_H
#include "attar/program.h"
#include "attar/random.h"
#include "graph/node.h"

#define OP_MAX_IN 4

/* Where an input's values come from. Those up to OP_TIES are differentiated, the rest are held fixed. */
typedef enum op_domain {
    OP_NORMAL, /* N(0,1) */
    OP_POS,    /* 0.5 .. 2 */
    OP_UNIT,   /* -0.9 .. 0.9 */
    OP_APART,  /* all different by at least 0.1 from each other, across inputs too, and away from 0 and integers */
    OP_TIES,   /* -1, 0 or 1 */
    OP_MASK,   /* 0 or 1 */
    OP_AFFINE, /* maps [N,2,3]: rotations, scalings and shifts */
    OP_SPARSE, /* the non-zeros of the fixed CSR matrix of SPMM cases */
    OP_INDEX,  /* i32, 0 .. n-1, with repeats */
    OP_ROWPTR, /* i32, of the fixed CSR matrix (5 x 4, 7 non-zeros, one empty row) */
    OP_COL     /* i32, likewise */
} op_domain;

typedef struct op_input {
    op_domain domain;
    dd_shape shape;
    int64_t n; /* OP_INDEX: bound */
} op_input;

enum {
    OP_ONE_KINK = 1, /* at a kink by intention: values and first derivatives only */
    OP_NO_DIFF = 2,  /* at a kink where central differences mean nothing: values only */
    OP_ROUNDS = 4,   /* passes through f32 by intention */
    OP_LARGE = 8,    /* large enough for several threads, too large for central differences */
};

typedef struct op_case op_case;
struct op_case {
    const char *name;
    dd_op op;
    dd_val (*build)(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in);
    void (*direct)(const op_case *c, dd_shape out, const double *const *in, double *y); /* may be NULL */
    int64_t p[DD_MAX_ATTR]; /* attributes as the builder and the direct formula read them */
    int nin;
    op_input in[OP_MAX_IN];
    unsigned flags;
};

int op_case_count(void);
const op_case *op_case_at(int i);
bool op_is_diff(const op_case *c, int i);  /* is input i differentiated */
bool op_is_index(const op_case *c, int i); /* is input i an i32 tensor */

/* Direct formulas, written from the definitions and independently of every kernel (direct.c). */
void direct_pointwise(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_move(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_reduce(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_matmul(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_conv(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_spmm(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_pool(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_index(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_patchsum(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_sample(const op_case *c, dd_shape out, const double *const *in, double *y);
void direct_logdet(const op_case *c, dd_shape out, const double *const *in, double *y);

/* A case as a graph. level 0: y. 1: loss = SUM(w*y) and its gradient g. 2: loss = SUM(w*(y + y*y/4)), whose second
 * derivative does not vanish for linear ops; g; s = SUM <v, g>; h = ds/dx. */
typedef struct op_build {
    dd_val in[OP_MAX_IN], y, w, loss, g[OP_MAX_IN], v[OP_MAX_IN], s, h[OP_MAX_IN];
} op_build;
void op_build_graph(dd_graph *g, const op_case *c, dd_dtype t, int level, op_build *b);

typedef struct op_prog {
    const op_case *c;
    dd_program *p;
    dd_dtype t;
    dd_tensor in[OP_MAX_IN], v[OP_MAX_IN], w, y, loss, s, g[OP_MAX_IN], h[OP_MAX_IN];
} op_prog;
/* Compiles a case, fills its inputs (values that f32 holds exactly, the same for every backend) and binds them.
 * false: said why on standard error. Always close. */
bool op_prog_open(op_prog *q, const op_case *c, int level, dd_backend *b, dd_dtype t);
bool op_prog_run(op_prog *q);
void op_prog_close(op_prog *q);
void op_fill(const op_input *in, int number, dd_tensor *t);

/* Small tools shared by the tests. */
double op_get(const dd_tensor *t, int64_t i);
void op_set(dd_tensor *t, int64_t i, double x);
/* max|a-b| / max(max|b|, 0.1); infinity for something that is not finite. */
double op_error(const dd_tensor *a, const dd_tensor *b);
/* Counts a failure and prints it when err is not below tol; keeps the worst error. */
typedef struct op_score {
    double worst;
    const char *where;
    int checked, failed;
} op_score;
void op_judge(op_score *s, const char *name, const char *what, double err, double tol);
void op_summary(const op_score *s, const char *test);
#endif

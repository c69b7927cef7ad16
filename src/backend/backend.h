/* SPDX-License-Identifier: Apache-2.0
 *
 * What a device must offer: prepare an instruction, launch it, release it. The compiler turns a graph into an array
 * of dd_instr whose operands are strided views of planned memory; a backend picks a kernel for each once, at compile
 * time, and may keep state and ask for scratch. Knows tensor and base, never the graph. */
#ifndef ATTAR_BACKEND_BACKEND_H
#define ATTAR_BACKEND_BACKEND_H
#include "attar/program.h"

typedef enum dd_kind {
    DD_K_POINTWISE, /* dst = ew(src...); all views have dst's dims, any strides (0: broadcast) */
    DD_K_COPY,      /* dst = src, any strides on both, converts dtype */
    DD_K_FILL,      /* dst = c, any strides */
    DD_K_IOTA,      /* dst = index along attr[0]; dst contiguous */
    DD_K_SUM,       /* dst dims = src dims with reduced axes 1; src any strides, dst contiguous */
    DD_K_SUMMUL,    /* dst = SUM(src0*src1): as SUM, two sources of equal dims */
    DD_K_MAXR,      /* as SUM */
    DD_K_ARGMAX,    /* attr[0] axis; dst i32; contiguous */
    DD_K_MATMUL,    /* attr ta tb; rank 3, contiguous; optional src2 bias [n] added to every row */
    DD_K_CONV,      /* attr sh sw ph pw dh dw groups; contiguous; optional src2 bias [O] */
    DD_K_CONV_DX,   /* src u, w */
    DD_K_CONV_DW,   /* src x, u */
    DD_K_SPMM,      /* attr m n transposed; src rowptr col val x */
    DD_K_SUMPOOL,   /* attr kh kw sh sw ph pw */
    DD_K_SUMPOOL_T,
    DD_K_POOL_ARGMAX,
    DD_K_PATCHSUM, /* src [N,H,W,M,P,Q] */
    DD_K_GATHER,   /* attr along; src x, index; an index out of range is DD_EINVAL. Where attr[1] > 0 the index is that
                      of a POOL_ARGMAX of 2x2 windows that do not overlap: height and width of planes and of windows */
    DD_K_SCATTER_ADD, /* attr as GATHER; src u, index; fills dst with zeros first; order of addition fixed */
    DD_K_SAMPLE,      /* src x, A */
    DD_K_SAMPLE_T,    /* src u, A */
    DD_K_FACTOR,      /* dst = lower Cholesky factor of src [b,n,n]; DD_ENUMERIC names the pivot */
    DD_K_BACKSOLVE,   /* src factor [b,n,n], B [b,n,m] -> X */
    DD_K_LOGDET,      /* src factor [b,n,n] -> [b,1,1]: 2 sum log diag */
    DD_K_ROWS,        /* attr outer, len, members, buffers: runs member[] over blocks of its `outer` rows */
    DD_K_COUNT
} dd_kind;

static inline bool dd_is_conv(dd_kind k)
{
    return k == DD_K_CONV || k == DD_K_CONV_DX || k == DD_K_CONV_DW;
}

typedef enum dd_ew {
    DD_EW_NEG,
    DD_EW_SQRT,
    DD_EW_EXP,
    DD_EW_LOG,
    DD_EW_SIN,
    DD_EW_COS,
    DD_EW_TANH,
    DD_EW_ERF,
    DD_EW_KAPPA0,
    DD_EW_KAPPA_SLOPE,
    DD_EW_FLOOR,
    DD_EW_STEP,
    DD_EW_ADD,
    DD_EW_SUB,
    DD_EW_MUL,
    DD_EW_DIV,
    DD_EW_KAPPA1,
    DD_EW_MAX,
    DD_EW_LT,
    DD_EW_EQ,
    DD_EW_SELECT,
    DD_EW_COUNT
} dd_ew;

/* Correlations beyond this are those of equal numbers (KAPPA1, KAPPA0, KAPPA_SLOPE): what roundings leave of an angle
 * of 0. */
#define DD_KAPPA_TOP_F32 (1 - 4e-7)
#define DD_KAPPA_TOP_F64 (1 - 1e-14)

typedef struct dd_view {
    dd_dtype dtype;
    int rank;
    int64_t dim[DD_MAX_RANK], stride[DD_MAX_RANK]; /* stride in elements; 0 repeats, negative runs backwards */
} dd_view;

#define DD_INSTR_SRC 4
typedef struct dd_instr dd_instr;
typedef dd_status (*dd_kernel)(dd_backend *b, const dd_instr *in, void *scratch);
struct dd_instr {
    dd_kind kind;
    dd_ew ew;
    int nsrc;
    dd_view dst, src[DD_INSTR_SRC];
    int64_t attr[8];
    double c;
    /* set by exec before each launch; element offsets of views are already added */
    void *out;
    const void *in[DD_INSTR_SRC];
    /* set by prepare */
    dd_kernel launch;
    void *state;
    size_t scratch; /* bytes, 64-byte aligned, shared by all instructions */
    /* Row groups. A member is POINTWISE, a reduction over whole rows, SUMPOOL or SUMPOOL_T of 2x2 windows of one plane
     * a row (attr: height and width of the large and of the small plane), or what the backend lets join: a CONV (among
     * the first members, its dst in a buffer, a row for each plane of dst) or a CONV_DW (among the last, u in a buffer,
     * a row for each plane of u). The last axis of the views of all others is the row, of at most len elements, the
     * others count the rows. What no other instruction reads lives in a buffer of one block of rows: buffer[0] is
     * dst's, buffer[1 + i] that of src[i], each 1 + its number; 0: memory. A member with buffer[0] < 0 is not computed
     * as it stands: the readers of its value, who name it by
     * -(1 + its place among the members), do so from what it reads. It is one of a row with one number per row (ADD,
     * SUB, MUL, DIV by the number, NEG) or the STEP of a row; the readers are SUM, SUMMUL, or ADD, SUB, MUL of two
     * rows, or again one of a row with one number per row. A STEP is read by MUL of two rows only, one operand at most.
     */
    int buffer[1 + DD_INSTR_SRC];
    dd_instr **member; /* ROWS: attr[2] of them, set by exec */
    /* Bit 0 is dst's, bit 1 + i that of src[i]: the operand, of rank 4 [n,c,h,w] or a row a plane, lies in memory as
     * [rows / lanes][elements of a row][lanes], rows being n * c and lanes the backend's. For ROWS: 1 if any operand of
     * a member does. */
    unsigned blocked;
    unsigned
        half; /* the same bits: the blocked operand is held as bfloat16, the upper half of a float, rounded to even */
};

typedef struct dd_profile dd_profile;
typedef struct dd_tuning dd_tuning;

struct dd_backend {
    const char *name;
    int threads;
    bool rows; /* takes ROWS; otherwise the compiler leaves instructions alone */
    void *self;
    dd_status (*prepare)(dd_backend *b, dd_instr *in);
    void (*release)(dd_backend *b, dd_instr *in);
    int (*joins)(dd_backend *b, const dd_instr *k); /* how many row groups may each compute this CONV for themselves
                                                       rather than read its result; of its gradients 1: it may be a
                                                       member; 0: no; NULL: none may */
    int lanes;                                      /* rows of a block; 0: no operand may be blocked */
    bool half;                                      /* blocked operands are held as bfloat16 */
    unsigned (*may_block)(
        dd_backend *b,
        const dd_instr *in); /* operands as in `blocked`, each on its own; ROWS with members: 1, all rows */
    void (*close)(dd_backend *b);
    double (*peak)(dd_backend *b); /* float32 FLOP/s of its arithmetic, measured; NULL: unknown */
    dd_profile *profile;           /* NULL: off */
    dd_tuning *tuning;             /* NULL: kernels are chosen by rules */
    const char *tunes; /* it has kernels to choose from: the library they compete with, with its version; NULL */
    int64_t limit;     /* bytes of everything with a new program; 0: any */
    void *shared;      /* exec's: what programs have in common */
    void (*shared_free)(void *shared);
};

/* in->launch, timed while profiling is on. */
dd_status dd_backend_launch(dd_backend *b, const dd_instr *in, void *scratch);
/* Two per multiply-add of a contraction, the members' sum for a row group, 0 for all else. */
double dd_instr_flop(const dd_instr *in);
/* What was measured for a shape, if it was; adds it, and writes the file. One that is not `lasting` holds for this
 * table and for what dd_backend_remember writes. Does nothing for a table that is full. */
bool dd_tuning_find(dd_tuning *t, const char *shape, dd_tune_row *out);
bool dd_tuning_full(const dd_tuning *t);
void dd_tuning_add(dd_tuning *t, const dd_tune_row *row, bool lasting);

/* Memory that the operands cover; for a row group what is not in buffers, each tensor read once. Needs in[] set. */
double dd_instr_bytes(const dd_instr *in);

/* The reference kernel for an instruction, for backends that fall back to it; NULL if the dtype is not supported. */
dd_kernel dd_ref_kernel(const dd_instr *in);
dd_status dd_ref_open(dd_backend **out, int threads);
dd_status dd_cpu_open(dd_backend **out, int threads);

static inline bool dd_view_contiguous(const dd_view *v)
{
    int64_t s = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        if (v->dim[i] != 1 && v->stride[i] != s) return false;
        s *= v->dim[i];
    }
    return true;
}
static inline int64_t dd_view_count(const dd_view *v)
{
    int64_t n = 1;
    for (int i = 0; i < v->rank; i++) n *= v->dim[i];
    return n;
}
#endif

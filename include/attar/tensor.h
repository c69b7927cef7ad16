/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types, shapes and host tensors. Everything is row-major and contiguous. */
#ifndef ATTAR_TENSOR_H
#define ATTAR_TENSOR_H
#include "attar/status.h"
#ifdef __cplusplus
extern "C" {
#endif

#define DD_MAX_RANK 6

/* DD_BF16, the upper half of a float32, is for files: no operation computes in it. */
typedef enum dd_dtype { DD_F32 = 1, DD_F64 = 2, DD_I32 = 3, DD_U8 = 4, DD_I64 = 5, DD_BF16 = 6 } dd_dtype;

/* Sizes along each axis, outermost first. rank 0 is a scalar of one element. */
typedef struct dd_shape {
    int rank;
    int64_t dim[DD_MAX_RANK];
} dd_shape;

/* DD_SHAPE(n, c, h, w) is a dd_shape of rank 4; C only. */
#ifndef __cplusplus
#define DD_SHAPE(...) ((dd_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#define DD_SCALAR ((dd_shape){0, {0}})
#endif
#define DD_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* A host array. `owned` says whether dd_tensor_fini frees `data`. Zero-initialised is a valid empty tensor. */
typedef struct dd_tensor {
    dd_dtype dtype;
    dd_shape shape;
    void *data;
    bool owned;
} dd_tensor;

size_t dd_dtype_size(dd_dtype t);      /* bytes of one element */
const char *dd_dtype_name(dd_dtype t); /* "f32", ... */

int64_t dd_shape_count(dd_shape s); /* number of elements; 1 for rank 0 */
bool dd_shape_equal(dd_shape a, dd_shape b);
/* Fails with DD_EINVAL for rank outside 0..6, a dimension < 1 or more than 2^40 elements. */
dd_status dd_shape_check(dd_shape s);
/* Writes "[2,3,4]" into buf (at least 128 bytes) and returns it. */
char *dd_shape_text(dd_shape s, char *buf, size_t size);

/* Allocates a zeroed, 64-byte aligned array. DD_EINVAL, DD_ENOMEM. */
dd_status dd_tensor_init(dd_tensor *t, dd_dtype dtype, dd_shape shape);
void dd_tensor_fini(dd_tensor *t); /* accepts zeroed tensors; zeroes *t */
/* A view of borrowed memory. */
dd_tensor dd_tensor_view(dd_dtype dtype, dd_shape shape, void *data);
/* Rows first..first+count-1 along axis 0, borrowed from t. The caller keeps within t's extent. */
dd_tensor dd_tensor_rows(const dd_tensor *t, int64_t first, int64_t count);
/* Copies bytes; shapes' counts and dtypes must agree. DD_EINVAL. */
dd_status dd_tensor_copy(dd_tensor *dst, const dd_tensor *src);
size_t dd_tensor_bytes(const dd_tensor *t);
float *dd_f32(const dd_tensor *t);   /* data as float; dtype must be DD_F32 */
double *dd_f64(const dd_tensor *t);  /* data as double; dtype must be DD_F64 */
int32_t *dd_i32(const dd_tensor *t); /* data as int32_t; dtype must be DD_I32 */
uint8_t *dd_u8(const dd_tensor *t);  /* data as uint8_t; dtype must be DD_U8 */

#ifdef __cplusplus
}
#endif
#endif

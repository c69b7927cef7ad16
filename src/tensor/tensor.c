/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types, shapes with overflow checks, and host tensors. Knows base. */
#include "attar/tensor.h"

#include "base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const int64_t max_count = INT64_C(1) << 40;

size_t dd_dtype_size(dd_dtype t)
{
    switch (t) {
    case DD_F32:
    case DD_I32: return 4;
    case DD_F64:
    case DD_I64: return 8;
    case DD_BF16: return 2;
    case DD_U8: return 1;
    }
    return 0;
}

const char *dd_dtype_name(dd_dtype t)
{
    switch (t) {
    case DD_F32: return "f32";
    case DD_F64: return "f64";
    case DD_I32: return "i32";
    case DD_U8: return "u8";
    case DD_I64: return "i64";
    case DD_BF16: return "bf16";
    }
    return "none";
}

int64_t dd_shape_count(dd_shape s)
{
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) n *= s.dim[i];
    return n;
}

bool dd_shape_equal(dd_shape a, dd_shape b)
{
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

dd_status dd_shape_check(dd_shape s)
{
    if (s.rank < 0 || s.rank > DD_MAX_RANK) return dd_fail(DD_EINVAL, "rank %d is not in 0..%d", s.rank, DD_MAX_RANK);
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) {
        if (s.dim[i] < 1) return dd_fail(DD_EINVAL, "axis %d has size %" PRId64 ", not at least 1", i, s.dim[i]);
        if (s.dim[i] > max_count / n) return dd_fail(DD_EINVAL, "a shape has more than 2^40 elements");
        n *= s.dim[i];
    }
    return DD_OK;
}

char *dd_shape_text(dd_shape s, char *buf, size_t size)
{
    size_t at = (size_t)snprintf(buf, size, "[");
    for (int i = 0; i < s.rank && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%" PRId64, i ? "," : "", s.dim[i]);
    if (at < size) snprintf(buf + at, size - at, "]");
    return buf;
}

dd_status dd_tensor_init(dd_tensor *t, dd_dtype dtype, dd_shape shape)
{
    memset(t, 0, sizeof *t);
    if (!dd_dtype_size(dtype)) return dd_fail(DD_EINVAL, "%d is not an element type", (int)dtype);
    DD_TRY(dd_shape_check(shape));
    const int64_t n = dd_shape_count(shape);
    void *data = dd_alloc((size_t)n, dd_dtype_size(dtype));
    if (!data) return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " elements of %s", n, dd_dtype_name(dtype));
    *t = (dd_tensor){dtype, shape, data, true};
    return DD_OK;
}

void dd_tensor_fini(dd_tensor *t)
{
    if (t->owned) dd_free(t->data);
    memset(t, 0, sizeof *t);
}

dd_tensor dd_tensor_view(dd_dtype dtype, dd_shape shape, void *data)
{
    return (dd_tensor){dtype, shape, data, false};
}

dd_tensor dd_tensor_rows(const dd_tensor *t, int64_t first, int64_t count)
{
    dd_tensor v = *t;
    assert(t->shape.rank > 0 && first >= 0 && count >= 0 && first + count <= t->shape.dim[0]);
    const int64_t row = t->shape.dim[0] ? dd_shape_count(t->shape) / t->shape.dim[0] : 0;
    v.shape.dim[0] = count;
    v.data = (char *)t->data + (size_t)(first * row) * dd_dtype_size(t->dtype);
    v.owned = false;
    return v;
}

size_t dd_tensor_bytes(const dd_tensor *t)
{
    return t->data ? (size_t)dd_shape_count(t->shape) * dd_dtype_size(t->dtype) : 0;
}

dd_status dd_tensor_copy(dd_tensor *dst, const dd_tensor *src)
{
    char a[128], b[128];
    if (dst->dtype != src->dtype || dd_shape_count(dst->shape) != dd_shape_count(src->shape))
        return dd_fail(DD_EINVAL, "cannot copy %s %s into %s %s", dd_dtype_name(src->dtype),
                       dd_shape_text(src->shape, a, sizeof a), dd_dtype_name(dst->dtype),
                       dd_shape_text(dst->shape, b, sizeof b));
    if (dd_tensor_bytes(src)) memcpy(dst->data, src->data, dd_tensor_bytes(src));
    return DD_OK;
}

float *dd_f32(const dd_tensor *t)
{
    assert(t->dtype == DD_F32);
    return t->data;
}

double *dd_f64(const dd_tensor *t)
{
    assert(t->dtype == DD_F64);
    return t->data;
}

int32_t *dd_i32(const dd_tensor *t)
{
    assert(t->dtype == DD_I32);
    return t->data;
}

uint8_t *dd_u8(const dd_tensor *t)
{
    assert(t->dtype == DD_U8);
    return t->data;
}

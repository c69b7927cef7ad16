/* SPDX-License-Identifier: Apache-2.0
 *
 * A kernel matrix between the images of two sets, into a file. Knows nn, data, tensor, base. */
#include "attar/eval.h"
#include "attar/kernel.h"
#include "base/fs.h"
#include "base/memory.h"
#include "data/safetensors.h"
#include "nn/kernel_blocks.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* x and y in the type of the arithmetic; y is empty where x is taken with itself. */
typedef struct pairs {
    dd_dtype dtype;
    dd_tensor x, y, k;
} pairs;

static dd_status all_numbers(const dd_tensor *t, const char *what)
{
    for (int64_t i = 0; i < dd_shape_count(t->shape); i++)
        if (!isfinite(t->dtype == DD_F64 ? dd_f64(t)[i] : (double)dd_f32(t)[i]))
            return dd_fail(DD_ENUMERIC, "%s: element %" PRId64 " is too large or no number", what, i);
    return DD_OK;
}

static dd_status convert(const pairs *w, dd_tensor *out, const dd_tensor *from, const char *path)
{
    char text[128];
    if (from->dtype != DD_F32 || from->shape.rank != 4 || dd_shape_count(from->shape) < 1)
        return dd_fail(DD_EFORMAT, "%s: \"images\" is %s %s, it must be float32 [N,C,H,W]", path,
                       dd_dtype_name(from->dtype), dd_shape_text(from->shape, text, sizeof text));
    DD_TRY(dd_tensor_init(out, DD_F32, from->shape));
    DD_TRY(dd_tensor_copy(out, from));
    DD_TRY(all_numbers(out, path));
    if (w->dtype == DD_F32) return DD_OK;
    dd_tensor narrow = *out;
    *out = (dd_tensor){0};
    const dd_status s = dd_tensor_init(out, DD_F64, from->shape);
    for (int64_t i = 0; s == DD_OK && i < dd_shape_count(from->shape); i++) dd_f64(out)[i] = (double)dd_f32(&narrow)[i];
    dd_tensor_fini(&narrow);
    return s;
}

static dd_status from_set(const pairs *w, dd_tensor *out, const char *dir)
{
    dd_synset *set = NULL;
    DD_TRY(dd_synset_load(&set, dir));
    const dd_status s = convert(w, out, &set->images, dir);
    dd_synset_free(set);
    return s;
}

static dd_status from_file(const pairs *w, dd_tensor *out, const char *path)
{
    dd_st_file *f;
    DD_TRY(dd_st_load(&f, path));
    const dd_tensor *t = dd_st_find(f, "images");
    const dd_status s = t ? convert(w, out, t, path) : dd_fail(DD_EFORMAT, "%s has no tensor \"images\"", path);
    dd_st_free(f);
    return s;
}

static dd_status read_images(const pairs *w, dd_tensor *out, const char *path)
{
    return (dd_is_dir(path) ? from_set : from_file)(w, out, path);
}

/* Two sets whose pixels mean the same; of files nothing is known. */
static dd_status alike(const char *x, const char *y)
{
    const char *dirs[] = {x, y};
    dd_synset *set[2] = {NULL};
    char whitening[2][80] = {"none", "none"};
    if (!dd_is_dir(x) || !dd_is_dir(y)) return DD_OK;
    dd_status s = DD_OK;
    for (int i = 0; i < 2 && s == DD_OK; i++) {
        s = dd_synset_load(&set[i], dirs[i]);
        if (s == DD_OK && set[i]->whitening) dd_whitening_text(set[i]->whitening, whitening[i], sizeof whitening[i]);
    }
    for (int64_t c = 0; s == DD_OK && c < set[0]->c && c < set[1]->c; c++)
        if (set[0]->mean[c] != set[1]->mean[c] || set[0]->std[c] != set[1]->std[c])
            s = dd_fail(DD_EINVAL,
                        "channel %" PRId64 " of %s is normalised by %g/%g, of %s by %g/%g: a kernel needs them alike",
                        c, x, set[0]->mean[c], set[0]->std[c], y, set[1]->mean[c], set[1]->std[c]);
    if (s == DD_OK && strcmp(whitening[0], whitening[1]) != 0)
        s = dd_fail(DD_EINVAL, "%s has whitening %s, %s has %s: a kernel needs them alike", x, whitening[0], y,
                    whitening[1]);
    for (int i = 0; i < 2; i++) dd_synset_free(set[i]);
    return s;
}

typedef struct watch {
    dd_kernel_blocks *blocks;
    dd_kernel_fn fn;
    void *self;
} watch;

static dd_status still_wanted(void *self)
{
    const watch *w = self;
    return w->fn(w->self, dd_kernel_blocks_done(w->blocks))
               ? DD_OK
               : dd_fail(DD_EINTERRUPTED, "stopped on request; nothing is written");
}

static dd_status compute(pairs *w, watch *by, dd_backend *b, const char *spec, int64_t memory)
{
    const dd_shape s = w->x.shape, t = w->y.data ? w->y.shape : s;
    dd_kernel *k = NULL;
    char text[2][128];
    for (int i = 1; i < 4; i++)
        if (s.dim[i] != t.dim[i])
            return dd_fail(DD_EINVAL, "the images are %s and %s: a kernel needs them of one size",
                           dd_shape_text(s, text[0], sizeof text[0]), dd_shape_text(t, text[1], sizeof text[1]));
    DD_TRY(dd_tensor_init(&w->k, w->dtype, DD_SHAPE(s.dim[0], t.dim[0])));
    DD_TRY(dd_kernel_open(&k, spec, (dd_image){s.dim[1], s.dim[2], s.dim[3]}));
    dd_status st = dd_kernel_blocks_new(&by->blocks, b, k, w->dtype, s.dim[0], w->y.data ? t.dim[0] : 0, memory, false);
    dd_kernel_blocks *e = by->blocks;
    if (st == DD_OK && by->fn) dd_kernel_blocks_watch(e, still_wanted, by);
    if (st == DD_OK) st = dd_kernel_blocks_run(e, &w->x, w->y.data ? &w->y : NULL, &w->k);
    if (st == DD_OK) st = all_numbers(&w->k, "the kernel matrix");
    dd_kernel_blocks_free(e);
    dd_kernel_close(k);
    return st;
}

static dd_status write_matrix(const pairs *w, const char *to)
{
    dd_st_entry e = {.name = "kernel", .t = w->k};
    void *bytes;
    size_t size;
    DD_TRY(dd_st_write(&e, 1, &bytes, &size));
    const dd_status s = dd_write_file(to, bytes, size);
    dd_free(bytes);
    return s;
}

dd_status dd_kernel_write(dd_backend *b, const char *spec, const char *x, const char *y, const char *to, bool wide,
                          int64_t memory, dd_kernel_fn fn, void *self, dd_shape *shape)
{
    pairs w = {.dtype = wide ? DD_F64 : DD_F32};
    if (dd_same_file(x, to) || (y && dd_same_file(y, to)))
        return dd_fail(DD_EINVAL, "%s is read, so the matrix cannot go there: name another file", to);
    DD_TRY(dd_check_writable(to));
    dd_status s = y ? alike(x, y) : DD_OK;
    if (s == DD_OK) s = read_images(&w, &w.x, x);
    if (s == DD_OK && y) s = read_images(&w, &w.y, y);
    if (s == DD_OK) s = compute(&w, &(watch){.fn = fn, .self = self}, b, spec, memory);
    if (s == DD_OK) s = write_matrix(&w, to);
    *shape = w.k.shape;
    dd_tensor_fini(&w.x);
    dd_tensor_fini(&w.y);
    dd_tensor_fini(&w.k);
    return s;
}

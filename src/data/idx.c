/* SPDX-License-Identifier: Apache-2.0
 *
 * IDX files, the format of MNIST: two zero bytes, an element type, a rank, big-endian sizes, then the elements.
 * Knows base, tensor and source.c. Reads unsigned bytes of rank 3 [N,H,W] or 4 [N,C,H,W] for images, rank 1 for
 * labels; the file's length must be exactly what its header says. */
#include "base/memory.h"
#include "data/data_internal.h"
#include <string.h>

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Checks magic, sizes and length; `dim` gets `rank` sizes, *body the first element. */
static dd_status header(const uint8_t *p, size_t size, const char *what, int lo, int hi, dd_shape *sh,
                        const uint8_t **body)
{
    if (size == 0) return dd_fail(DD_EFORMAT, "%s is empty (0 bytes)", what);
    if (size < 4) return dd_fail(DD_EFORMAT, "%s: %zu bytes are too short for an IDX file", what, size);
    int rank = p[3];
    if (p[0] || p[1] || p[2] != 8 || rank < lo || rank > hi)
        return dd_fail(DD_EFORMAT, "%s: wrong magic number 0x%08x, expected 0x%08x (IDX of unsigned bytes, rank %d)",
                       what, be32(p), 0x800u + (unsigned)lo, lo);
    size_t head = 4 + 4 * (size_t)rank;
    if (size < head)
        return dd_fail(DD_EFORMAT, "%s: %zu bytes, the header alone has %zu (truncated download?)", what, size, head);
    uint64_t count = 1;
    sh->rank = rank;
    for (int i = 0; i < rank; i++) {
        uint32_t n = be32(p + 4 + 4 * (size_t)i);
        sh->dim[i] = n;
        if (n == 0) return dd_fail(DD_EFORMAT, "%s: size %d of %d is 0, so it holds no items", what, i + 1, rank);
        if (count > ((uint64_t)1 << 40) / n)
            return dd_fail(DD_EFORMAT, "%s: the header asks for more than 2^40 elements", what);
        count *= n;
    }
    if (count != size - head)
        return dd_fail(DD_EFORMAT, "%s: %zu bytes of elements, the header's sizes need %llu (%s)", what, size - head,
                       (unsigned long long)count, count > size - head ? "truncated download?" : "bytes too many");
    *body = p + head;
    return DD_OK;
}

dd_status dd_idx_images(const void *data, size_t size, const char *what, dd_tensor *out)
{
    dd_shape sh;
    const uint8_t *body;
    DD_TRY(header(data, size, what, 3, 4, &sh, &body));
    int64_t c = sh.rank == 4 ? sh.dim[1] : 1;
    if (c > 16) return dd_fail(DD_EFORMAT, "%s: %lld channels, at most 16 are read", what, (long long)c);
    DD_TRY(dd_tensor_init(out, DD_U8, DD_SHAPE(sh.dim[0], c, sh.dim[sh.rank - 2], sh.dim[sh.rank - 1])));
    memcpy(out->data, body, dd_tensor_bytes(out));
    return DD_OK;
}

dd_status dd_idx_labels(const void *data, size_t size, const char *what, int64_t classes, dd_tensor *out)
{
    dd_shape sh;
    const uint8_t *body;
    DD_TRY(header(data, size, what, 1, 1, &sh, &body));
    for (int64_t i = 0; i < sh.dim[0]; i++) {
        if (classes && body[i] >= classes)
            return dd_fail(DD_EFORMAT, "%s: label %d of item %lld is out of range, there are %lld classes (0..%lld)",
                           what, body[i], (long long)i, (long long)classes, (long long)classes - 1);
    }
    DD_TRY(dd_tensor_init(out, DD_I32, DD_SHAPE(sh.dim[0])));
    for (int64_t i = 0; i < sh.dim[0]; i++) dd_i32(out)[i] = body[i];
    return DD_OK;
}

/* The spellings in use, train part first. */
static const char *const image_names[2][5] = {
    {"train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images-idx4-ubyte", NULL, NULL},
    {"t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte", "test-images-idx3-ubyte", "test-images-idx4-ubyte", NULL}};
static const char *const label_names[2][4] = {
    {"train-labels-idx1-ubyte", "train-labels.idx1-ubyte", NULL, NULL},
    {"t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte", "test-labels-idx1-ubyte", NULL}};

static const char *present(const char *dir, const char *const *names)
{
    for (int i = 0; names[i]; i++) {
        if (dd_source_has(dir, names[i])) return names[i];
    }
    return names[0];
}

bool dd_idx_here(const char *dir)
{
    return dd_source_has(dir, present(dir, image_names[0]));
}

static dd_status read_part(const char *dir, int part, int64_t classes, dd_split *s)
{
    dd_bytes b;
    char images[DD_PATH];
    DD_TRY(dd_source_read(dir, present(dir, image_names[part]), &b));
    memcpy(images, b.path, sizeof images);
    dd_status st = dd_idx_images(b.p, b.n, b.path, &s->images);
    dd_bytes_fini(&b);
    DD_TRY(st);
    DD_TRY(dd_source_read(dir, present(dir, label_names[part]), &b));
    st = dd_idx_labels(b.p, b.n, b.path, classes, &s->labels);
    dd_bytes_fini(&b);
    DD_TRY(st);
    s->n = s->images.shape.dim[0];
    if (s->labels.shape.dim[0] != s->n)
        return dd_fail(DD_EFORMAT, "%s has %lld labels for the %lld images of %s", b.path,
                       (long long)s->labels.shape.dim[0], (long long)s->n, images);
    return DD_OK;
}

dd_status dd_idx_load(dd_dataset *d, const char *dir, const dd_data_opts *o)
{
    (void)o;
    DD_TRY(read_part(dir, 0, d->classes, &d->train));
    DD_TRY(read_part(dir, 1, d->classes, &d->test));
    for (int i = 1; i < 4; i++) {
        if (d->train.images.shape.dim[i] != d->test.images.shape.dim[i]) {
            char a[128], b[128];
            return dd_fail(DD_EFORMAT, "%s: training images %s and test images %s differ in size", dir,
                           dd_shape_text(d->train.images.shape, a, sizeof a),
                           dd_shape_text(d->test.images.shape, b, sizeof b));
        }
    }
    return DD_OK;
}

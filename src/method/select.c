/* SPDX-License-Identifier: Apache-2.0
 *
 * Which items of a run belong to which class, and samples of them. Knows data's labels and the random numbers. */
#include "method/method_internal.h"

#include "base/memory.h"

#include <inttypes.h>

dd_status dd_run_index(dd_run *r, int64_t **class_first, int32_t **class_pos)
{
    const int64_t k = r->data->classes;
    const int32_t *labels = dd_i32(&r->data->train.labels);
    int64_t *first = *class_first = dd_alloc((size_t)k + 2, sizeof *first);
    int32_t *pos = *class_pos = dd_alloc((size_t)r->nitems + 1, sizeof *pos);
    if (!first || !pos) {
        dd_free(first);
        dd_free(pos);
        *class_first = NULL;
        *class_pos = NULL;
        return dd_fail(DD_ENOMEM, "out of memory for the class index of %" PRId64 " items", r->nitems);
    }
    /* first[c+1] counts up from the start of class c while positions go in, and ends as the start of class c+1 */
    for (int64_t i = 0; i < r->nitems; i++) first[labels[r->items[i]] + 2]++;
    for (int64_t c = 2; c <= k; c++) first[c] += first[c - 1];
    for (int64_t i = 0; i < r->nitems; i++) pos[first[labels[r->items[i]] + 1]++] = (int32_t)i;
    r->class_first = first;
    r->class_pos = pos;
    return DD_OK;
}

void dd_sample_floyd(dd_key key, int64_t n, int64_t k, int32_t *out)
{
    for (int64_t i = 0; i < k; i++) {
        const int64_t top = n - k + i;
        int32_t pick = (int32_t)dd_key_below(key, (uint64_t)i, (uint64_t)top + 1);
        for (int64_t j = 0; j < i; j++)
            if (out[j] == pick) {
                pick = (int32_t)top;
                break;
            }
        out[i] = pick;
    }
}

dd_status dd_run_sample_class(const dd_run *r, int64_t c, int64_t n, dd_key key, int32_t *items)
{
    const int64_t first = r->class_first[c], count = r->class_first[c + 1] - first;
    if (count < 1)
        return dd_fail(DD_EINVAL, "class %s has no training image to draw from", r->data->class_names[c]);
    int64_t done = 0;
    for (; done + count <= n; done += count)
        for (int64_t i = 0; i < count; i++) items[done + i] = (int32_t)i;
    dd_sample_floyd(key, count, n - done, items + done);
    for (int64_t i = 0; i < n; i++) items[i] = r->class_pos[first + items[i]];
    return DD_OK;
}

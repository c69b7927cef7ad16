/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedded data set: small enough to be part of the library, so that everything can be tried and tested
 * without a file. Knows tensor. The table digits_table.inc has its own licence. Pixels 0..16 become 0..1. */
#include "data/data_internal.h"

#define ITEMS 1797
#define PIXELS 64

static const char table[ITEMS][PIXELS + 2] = {
#include "data/digits_table.inc"
};

static int value(char ch)
{
    return ch <= '9' ? ch - '0' : ch - 'a' + 10;
}

dd_status dd_digits_load(dd_dataset *d, const char *dir, const dd_data_opts *o)
{
    (void)dir;
    (void)o;
    d->classes = 10;
    d->train.n = ITEMS;
    DD_TRY(dd_tensor_init(&d->train.images, DD_F32, DD_SHAPE(ITEMS, 1, 8, 8)));
    DD_TRY(dd_tensor_init(&d->train.labels, DD_I32, DD_SHAPE(ITEMS)));
    for (int i = 0; i < ITEMS; i++) {
        const char *row = table[i];
        for (int p = 0; p < PIXELS; p++) dd_f32(&d->train.images)[i * PIXELS + p] = (float)value(row[p]) / 16.0f;
        dd_i32(&d->train.labels)[i] = row[PIXELS] - '0';
    }
    return DD_OK;
}

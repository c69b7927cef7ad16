/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of networks and of augmentation share: tensors of noise, programs and networks that must open. */
#ifndef ATTAR_TEST_NN_TOOLS_H
#define ATTAR_TEST_NN_TOOLS_H
#include "attar/net.h"
#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != DD_OK) fail_msg("%s: %s", #call, dd_last_error());                                               \
    } while (0)

#define ALL_DSA "color_crop_cutout_flip_scale_rotate"

static inline dd_backend *open_ref(void)
{
    dd_backend *b = NULL;
    OK(dd_backend_open(&b, "ref", 1));
    return b;
}

static inline dd_tensor tensor(dd_dtype t, dd_shape s)
{
    dd_tensor x;
    OK(dd_tensor_init(&x, t, s));
    return x;
}

static inline dd_tensor noise(dd_dtype t, dd_shape s, uint64_t seed)
{
    dd_tensor x = tensor(t, s);
    const dd_key key = dd_key_seed(seed);
    for (int64_t i = 0; i < dd_shape_count(s); i++) {
        const double v = dd_key_normal(key, (uint64_t)i);
        if (t == DD_F64)
            dd_f64(&x)[i] = v;
        else
            dd_f32(&x)[i] = (float)v;
    }
    return x;
}

static inline dd_tensor one_hot(dd_dtype t, int64_t n, int64_t classes)
{
    dd_tensor y = tensor(t, DD_SHAPE(n, classes));
    for (int64_t i = 0; i < n; i++) {
        if (t == DD_F64)
            dd_f64(&y)[i * classes + i % classes] = 1;
        else
            dd_f32(&y)[i * classes + i % classes] = 1;
    }
    return y;
}

static inline dd_program *compile(dd_graph *g, dd_backend *b)
{
    dd_program *p = NULL;
    OK(dd_compile(&p, g, b));
    dd_graph_free(g);
    return p;
}

static inline dd_net *open_net(const char *spec, dd_image im, int64_t classes)
{
    dd_net *n = NULL;
    OK(dd_net_open(&n, spec, im, classes));
    return n;
}
#endif

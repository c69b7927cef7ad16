/* SPDX-License-Identifier: Apache-2.0
 *
 * Differentiable siamese augmentation (Zhao and Bilen 2021). The host draws parameters; the graph applies them.
 * One graph carries every strategy of the list, since each has a setting that changes no bit; a draw moves one
 * strategy off that setting. Resampling is corner-aligned: pixel j of W sits at -1 + 2j/(W-1).
 * Knows graph, tensor, base. */
#include "nn/train_step.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Columns of a row of parameters; 13..15 are spare zeros. */
enum { AFFINE = 0, BRIGHT = 6, SATURATE = 7, CONTRAST = 8, CUT_Y = 9, CUT_X = 11 };
#define WARPS (DD_AUG_CROP | DD_AUG_FLIP | DD_AUG_SCALE | DD_AUG_ROTATE)

static const char *const names[] = {"color", "crop", "cutout", "flip", "scale", "rotate", NULL};
enum { STRATEGIES = 6 };

/* What is drawn from, uniformly: brightness is added; saturation and contrast are factors; zoom is one, alike in both
 * directions where `isotropic`, and like the factors uniform in its logarithm where `logarithmic`. */
typedef struct ranges {
    double bright, saturation[2], contrast[2], zoom[2], hole;
    bool logarithmic, isotropic;
} ranges;
static const ranges of_dsa = {0.5, {0, 2}, {0.5, 1.5}, {1 / 1.2, 1.2}, 0.5, false, false};
static const ranges of_frepo = {
    0.25, {0.77880078307140488, 1.2840254166877414}, {0.77880078307140488, 1.2840254166877414}, {0.8, 1.25}, 0.25, true,
    true};
#define FREPO "frepo:"

/* --- text --- */

static dd_status add_word(dd_aug *a, const char *word, const char *text)
{
    for (int i = 0; i < STRATEGIES; i++)
        if (!strcmp(word, names[i])) {
            if (a->list >> i & 1u) return dd_fail(DD_EINVAL, "augmentation \"%s\" names %s twice", text, word);
            a->list |= 1u << i;
            return DD_OK;
        }
    if (!strncmp(text, "dc:", 3))
        return dd_fail(DD_EINVAL,
                       "\"%s\" belongs to the evaluation protocol dc; here a list of color, crop, cutout, flip, "
                       "scale, rotate is meant",
                       text);
    const char *near = dd_nearest(word, names);
    return dd_fail(DD_EINVAL, "\"%s\" in augmentation \"%s\" is none of color, crop, cutout, flip, scale, rotate%s%s",
                   word, text, near ? "; did you mean " : "", near ? near : "");
}

dd_status dd_aug_parse(dd_aug *out, const char *text)
{
    char copy[128], *save = NULL;
    *out = (dd_aug){0};
    if (!strcmp(text, "none") || !*text) return DD_OK;
    out->frepo = !strncmp(text, FREPO, strlen(FREPO));
    if (out->frepo) text += strlen(FREPO);
    if (strlen(text) >= sizeof copy)
        return dd_fail(DD_EINVAL, "an augmentation list has at most %zu characters, this one %zu", sizeof copy - 1,
                       strlen(text));
    memcpy(copy, text, strlen(text) + 1);
    for (char *word = strtok_r(copy, "_", &save); word; word = strtok_r(NULL, "_", &save))
        DD_TRY(add_word(out, word, text));
    return DD_OK;
}

char *dd_aug_text(dd_aug a, char *buf, size_t size)
{
    size_t len = 0;
    if (!size) return buf;
    buf[0] = 0;
    snprintf(buf, size, "%s", !a.list ? "none" : a.frepo ? FREPO : "");
    if (a.list) len = strlen(buf);
    const size_t first = len;
    for (int i = 0; i < STRATEGIES; i++)
        if (a.list >> i & 1u && len < size) {
            const int n = snprintf(buf + len, size - len, "%s%s", len > first ? "_" : "", names[i]);
            len += n > 0 ? (size_t)n : 0;
        }
    return buf;
}

/* --- draws --- */

static void neutral(float *p)
{
    memset(p, 0, DD_AUG_PARAMS * sizeof *p);
    p[AFFINE] = p[AFFINE + 4] = 1;
    p[SATURATE] = p[CONTRAST] = 1;
}

static int64_t portion(int64_t size, double ratio)
{
    return (int64_t)floor((double)size * ratio + 0.5);
}

static double between(const ranges *r, const double range[2], double u)
{
    return r->logarithmic ? range[0] * pow(range[1] / range[0], u) : range[0] + (range[1] - range[0]) * u;
}

static void draw_color(const ranges *r, float *p, dd_key k)
{
    p[BRIGHT] = (float)(r->bright * (2 * dd_key_uniform(k, 0) - 1));
    p[SATURATE] = (float)between(r, r->saturation, dd_key_uniform(k, 1));
    p[CONTRAST] = (float)between(r, r->contrast, dd_key_uniform(k, 2));
}

static float shift(dd_key k, uint64_t counter, int64_t size)
{
    const int64_t q = portion(size, 0.125);
    return (float)((int64_t)dd_key_below(k, counter, (uint64_t)(2 * q + 1)) - q);
}

/* [first, end) of the square along one axis, clipped to the image */
static void cut(const ranges *r, float *p, dd_key k, uint64_t counter, int64_t size)
{
    const int64_t side = portion(size, r->hole);
    const int64_t centre = (int64_t)dd_key_below(k, counter, (uint64_t)(size + (side % 2 == 0)));
    const int64_t first = centre - side / 2, end = first + side;
    p[0] = (float)(first < 0 ? 0 : first);
    p[1] = (float)(end > size ? size : end);
}

/* A = A B for the 2x2 part of the affine map; the shift stays: it is applied to the source last. */
static void compose(float *p, double b00, double b01, double b10, double b11)
{
    const double a00 = (double)p[0], a01 = (double)p[1], a10 = (double)p[3], a11 = (double)p[4];
    p[0] = (float)(a00 * b00 + a01 * b10);
    p[1] = (float)(a00 * b01 + a01 * b11);
    p[3] = (float)(a10 * b00 + a11 * b10);
    p[4] = (float)(a10 * b01 + a11 * b11);
}

static void draw_scale(const ranges *r, float *p, dd_key k)
{
    const double sx = between(r, r->zoom, dd_key_uniform(k, 0));
    compose(p, r->isotropic ? sx : between(r, r->zoom, dd_key_uniform(k, 1)), 0, 0, sx);
}

/* The rotation is one of [-1,1] coordinates, so oblong images carry the ratio of half extents off the diagonal. */
static void draw_rotate(float *p, dd_image im, dd_key k)
{
    const double t = (dd_key_uniform(k, 0) * 30 - 15) * 0.017453292519943295;
    const double hy = im.h > 1 ? (double)(im.h - 1) : 1, hx = im.w > 1 ? (double)(im.w - 1) : 1;
    compose(p, cos(t), sin(t) * hy / hx, -sin(t) * hx / hy, cos(t));
}

static void draw(dd_aug a, unsigned strategy, dd_image im, dd_key key, float *p)
{
    const ranges *r = a.frepo ? &of_frepo : &of_dsa;
    const dd_key k = dd_key_at(key, "strategy", strategy);
    switch (strategy) {
    case DD_AUG_COLOR: draw_color(r, p, k); break;
    case DD_AUG_CROP:
        p[AFFINE + 2] = shift(k, 0, im.h);
        p[AFFINE + 5] = shift(k, 1, im.w);
        break;
    case DD_AUG_CUTOUT:
        cut(r, p + CUT_Y, k, 0, im.h);
        cut(r, p + CUT_X, k, 1, im.w);
        break;
    case DD_AUG_FLIP:
        if (dd_key_uniform(k, 0) < 0.5) compose(p, 1, 0, 0, -1);
        break;
    case DD_AUG_SCALE: draw_scale(r, p, k); break;
    case DD_AUG_ROTATE: draw_rotate(p, im, k); break;
    default: break;
    }
}

static unsigned choose(dd_aug a, dd_key key)
{
    unsigned bits[STRATEGIES], n = 0;
    for (unsigned i = 0; i < STRATEGIES; i++)
        if (a.list >> i & 1u) bits[n++] = 1u << i;
    return n ? bits[dd_key_below(dd_key_at(key, "choice", 0), 0, n)] : 0;
}

void dd_aug_draw(dd_aug a, dd_image image, dd_key key, bool siamese, int64_t n, float *params)
{
    const unsigned strategy = choose(a, key);
    for (int64_t i = 0; i < n; i++) {
        float *p = params + i * DD_AUG_PARAMS;
        if (siamese && i) {
            memcpy(p, params, DD_AUG_PARAMS * sizeof *p);
            continue;
        }
        neutral(p);
        draw(a, strategy, image, dd_key_at(key, "row", (uint64_t)i), p);
    }
}

void dd_aug_draw_all(dd_aug a, dd_image image, dd_key key, int64_t n, float *params)
{
    for (int64_t i = 0; i < n; i++) {
        float *p = params + i * DD_AUG_PARAMS;
        neutral(p);
        for (unsigned s = 0; s < STRATEGIES; s++)
            if (a.list >> s & 1u) draw(a, 1u << s, image, dd_key_at(key, "row", (uint64_t)i), p);
    }
}

/* --- graph --- */

static dd_val column(dd_graph *g, dd_val params, int64_t first, int64_t count, dd_shape s)
{
    const int64_t n = dd_shape_of(g, params).dim[0];
    const int64_t start[2] = {0, first}, counts[2] = {n, count}, stride[2] = {1, 1};
    return dd_reshape(g, dd_slice(g, params, start, counts, stride), s);
}

/* x*f + m*(1-f) rather than (x-m)*f + m: exact for f = 1 */
static dd_val blend(dd_graph *g, dd_val x, unsigned axes, dd_val f)
{
    const dd_val one = dd_full(g, dd_dtype_of(g, f), dd_shape_of(g, f), 1);
    return dd_add(g, dd_mul(g, x, f), dd_mul(g, dd_mean(g, x, axes), dd_sub(g, one, f)));
}

static dd_val color(dd_graph *g, dd_val x, dd_val params, dd_shape s)
{
    const dd_shape one = DD_SHAPE(s.dim[0], 1, 1, 1);
    x = dd_add(g, x, column(g, params, BRIGHT, 1, one));
    if (s.dim[1] > 1) x = blend(g, x, 2u, column(g, params, SATURATE, 1, one));
    return blend(g, x, 2u | 4u | 8u, column(g, params, CONTRAST, 1, one));
}

/* 1 inside [first, end) along `axis` */
static dd_val inside(dd_graph *g, dd_val params, int first, int axis, dd_shape s)
{
    const dd_shape one = DD_SHAPE(s.dim[0], 1, 1, 1);
    dd_shape line = DD_SHAPE(1, 1, 1, 1);
    line.dim[axis] = s.dim[axis];
    const dd_val at = dd_iota(g, dd_dtype_of(g, params), line, axis);
    const dd_val before_end = dd_lt(g, at, column(g, params, first + 1, 1, one));
    return dd_sub(g, before_end, dd_lt(g, at, column(g, params, first, 1, one)));
}

static dd_val cutout(dd_graph *g, dd_val x, dd_val params, dd_shape s)
{
    const dd_val hole = dd_mul(g, inside(g, params, CUT_Y, 2, s), inside(g, params, CUT_X, 3, s));
    const dd_val keep = dd_sub(g, dd_full(g, dd_dtype_of(g, hole), dd_shape_of(g, hole), 1), hole);
    return dd_mul(g, x, keep);
}

dd_val dd_augment(dd_graph *g, dd_aug a, dd_val x, dd_val params)
{
    if (!a.list || !x.id || !params.id) return x;
    const dd_shape s = dd_shape_of(g, x);
    params = dd_stop(g, dd_cast(g, params, dd_dtype_of(g, x)));
    if (a.list & DD_AUG_COLOR) x = color(g, x, params, s);
    if (a.list & WARPS) x = dd_sample(g, x, column(g, params, AFFINE, 6, DD_SHAPE(s.dim[0], 2, 3)), s.dim[2], s.dim[3]);
    return a.list & DD_AUG_CUTOUT ? cutout(g, x, params, s) : x;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The DC protocol's augmentation. Crop and rotate fill with the batch's channel mean, scale with zeros. Rotation is
 * scipy.ndimage.rotate of order 3 with reshape, cut back to its centre, computed for the pixels that stay: nothing
 * larger than the image is ever made. Knows tensor, base. */
#include "eval/augment_dc.h"

#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STRATEGIES = 4, PAD = 4, TURN = 45, TAPS = 4 };
#define PREFIX "dc:"
#define STRETCH 0.2
#define NOISE 0.001
#define DEGREE 0.017453292519943295
#define POLE (-0.2679491924311227) /* sqrt(3) - 2 */

static const char *const names[] = {"crop", "scale", "rotate", "noise", NULL};

/* --- text --- */

bool dd_dc_aug_named(const char *text)
{
    return strncmp(text, PREFIX, strlen(PREFIX)) == 0;
}

static dd_status add_word(unsigned *list, const char *word, const char *text)
{
    for (int i = 0; i < STRATEGIES; i++)
        if (!strcmp(word, names[i])) {
            *list |= 1u << i;
            return DD_OK;
        }
    const char *near = dd_nearest(word, names);
    return dd_fail(DD_EINVAL, "\"%s\" in augmentation \"%s\" is none of crop, scale, rotate, noise%s%s", word, text,
                   near ? "; did you mean " : "", near ? near : "");
}

dd_status dd_dc_aug_parse(unsigned *list, const char *text)
{
    char copy[64], *save = NULL;
    *list = 0;
    if (!dd_dc_aug_named(text))
        return dd_fail(DD_EINVAL, "DC's own augmentation starts with \"" PREFIX "\", \"%s\" does not", text);
    if (strlen(text) >= sizeof copy)
        return dd_fail(DD_EINVAL, "an augmentation list of DC has at most %zu characters, this one %zu",
                       sizeof copy - 1, strlen(text));
    snprintf(copy, sizeof copy, "%s", text + strlen(PREFIX));
    for (char *word = strtok_r(copy, "_", &save); word; word = strtok_r(NULL, "_", &save))
        DD_TRY(add_word(list, word, text));
    if (*list) return DD_OK;
    return dd_fail(DD_EINVAL, "augmentation \"%s\" names none of crop, scale, rotate, noise; write none for none",
                   text);
}

/* --- life --- */

dd_status dd_dc_aug_init(dd_dc_aug *a, unsigned list, dd_image image)
{
    *a = (dd_dc_aug){.list = list, .image = image};
    if (!list) return DD_OK;
    a->source = dd_alloc((size_t)image.c, (size_t)(image.h * image.w) * sizeof *a->source);
    a->spline = dd_alloc((size_t)(image.h * image.w), sizeof *a->spline);
    a->mean = dd_alloc((size_t)image.c, sizeof *a->mean);
    if (a->source && a->spline && a->mean) return DD_OK;
    dd_dc_aug_fini(a);
    return dd_fail(DD_ENOMEM, "out of memory for augmenting images of %" PRId64 "x%" PRId64 "x%" PRId64, image.c,
                   image.h, image.w);
}

void dd_dc_aug_fini(dd_dc_aug *a)
{
    dd_free(a->source);
    dd_free(a->spline);
    dd_free(a->mean);
    memset(a, 0, sizeof *a);
}

/* --- draws --- */

static unsigned choose(unsigned list, dd_key key)
{
    unsigned bits[STRATEGIES], n = 0;
    for (unsigned i = 0; i < STRATEGIES; i++)
        if (list >> i & 1u) bits[n++] = 1u << i;
    return n ? bits[dd_key_below(dd_key_at(key, "choice", 0), 0, n)] : 0;
}

/* Height and width both stretch the height, as DC has it; its images are square. */
static int64_t stretch(dd_key key, uint64_t counter, int64_t height)
{
    const double by = 1 - STRETCH + 2 * STRETCH * dd_key_uniform(key, counter);
    const int64_t size = (int64_t)(by * (double)height);
    return size < 1 ? 1 : size;
}

dd_dc_draw dd_dc_aug_draw(unsigned list, dd_image image, dd_key key)
{
    dd_dc_draw d = {.strategy = choose(list, key)};
    const dd_key k = dd_key_at(key, "strategy", d.strategy);
    switch (d.strategy) {
    case DD_DC_CROP:
        d.y = (int64_t)dd_key_below(k, 0, 2 * PAD);
        d.x = (int64_t)dd_key_below(k, 1, 2 * PAD);
        break;
    case DD_DC_SCALE:
        d.y = stretch(k, 0, image.h);
        d.x = stretch(k, 1, image.h);
        break;
    case DD_DC_ROTATE: d.degrees = (int)dd_key_below(k, 0, 2 * TURN) - TURN; break;
    case DD_DC_NOISE: d.noise = k; break;
    default: break;
    }
    return d;
}

/* --- crop and scale --- */

static bool inside(int64_t i, int64_t size)
{
    return i >= 0 && i < size;
}

/* A window of the image padded by PAD. */
static void crop(const dd_dc_aug *a, dd_dc_draw d, float *x)
{
    const dd_image im = a->image;
    for (int64_t c = 0; c < im.c; c++) {
        const float *in = a->source + c * im.h * im.w, fill = (float)a->mean[c];
        for (int64_t i = 0; i < im.h; i++)
            for (int64_t j = 0; j < im.w; j++) {
                const int64_t y = i + d.y - PAD, z = j + d.x - PAD;
                *x++ = inside(y, im.h) && inside(z, im.w) ? in[y * im.w + z] : fill;
            }
    }
}

/* The source of pixel i along one axis after resizing `size` pixels to `to`, nearest neighbour (source i*size/to,
 * rounded down), and centring both on a canvas of `canvas` pixels; -1: beside the resized image. */
static int64_t resized(int64_t i, int64_t size, int64_t to, int64_t canvas)
{
    const int64_t at = i + (canvas - size) / 2 - (canvas - to) / 2;
    return inside(at, to) ? at * size / to : -1;
}

static void scale(const dd_dc_aug *a, dd_dc_draw d, float *x)
{
    const dd_image im = a->image;
    const int64_t to = d.y > d.x ? d.y : d.x, from = im.h > im.w ? im.h : im.w;
    const int64_t canvas = to > from ? to : from; /* square, as in DC: it decides how odd margins round */
    for (int64_t c = 0; c < im.c; c++)
        for (int64_t i = 0; i < im.h; i++)
            for (int64_t j = 0; j < im.w; j++) {
                const int64_t y = resized(i, im.h, d.y, canvas), z = resized(j, im.w, d.x, canvas);
                *x++ = y < 0 || z < 0 ? 0 : a->source[(c * im.h + y) * im.w + z];
            }
}

/* --- rotate: a cubic B-spline --- */

/* Samples go on mirrored about the outermost ones: s[-k] = s[k], s[n-1+k] = s[n-1-k], with period 2n-2. */
static int64_t mirror(int64_t i, int64_t n)
{
    const int64_t period = 2 * n - 2;
    if (n < 2) return 0;
    i = (i % period + period) % period;
    return i < n ? i : period - i;
}

/* Samples to coefficients, in place: s[i] = (c[i-1] + 4 c[i] + c[i+1]) / 6. The inverse, 6 / (Z + 4 + 1/Z), is a
 * causal and an anticausal filter with the pole p = sqrt(3) - 2 (Unser, Aldroubi, Eden 1993, part II):
 *   u[i] = s[i] + p u[i-1],            u[0] = sum_{k >= 0} p^k s[-k] = sum_{k < 2n-2} p^k s[k] / (1 - p^(2n-2))
 *   c[i] = 6 p (c[i+1]/6 - u[i]),      c[n-1] = 6 p (u[n-1] + p u[n-2]) / (p^2 - 1)
 * where both starts follow from the mirrored ends. */
static void prefilter(double *s, int64_t n, int64_t step)
{
    double sum = 0, power = 1;
    if (n < 2) return;
    for (int64_t k = 0; k < 2 * n - 2; k++, power *= POLE) sum += power * s[mirror(k, n) * step];
    s[0] = sum / (1 - power);
    for (int64_t i = 1; i < n; i++) s[i * step] += POLE * s[(i - 1) * step];
    s[(n - 1) * step] = 6 * POLE / (POLE * POLE - 1) * (s[(n - 1) * step] + POLE * s[(n - 2) * step]);
    for (int64_t i = n - 2; i >= 0; i--) s[i * step] = POLE * (s[(i + 1) * step] - 6 * s[i * step]);
}

/* B(t+1), B(t), B(1-t), B(2-t) of the cubic B-spline: the weights of the coefficients about a point t behind one. */
static void weights(double t, double *w)
{
    const double r = 1 - t;
    w[0] = r * r * r / 6;
    w[1] = (4 - 3 * t * t * (2 - t)) / 6;
    w[2] = (4 - 3 * r * r * (2 - r)) / 6;
    w[3] = t * t * t / 6;
}

static double spline_at(const double *c, dd_image im, double y, double x)
{
    const double y0 = floor(y), x0 = floor(x);
    double wy[TAPS], wx[TAPS], sum = 0;
    int64_t column[TAPS];
    weights(y - y0, wy);
    weights(x - x0, wx);
    for (int j = 0; j < TAPS; j++) column[j] = mirror((int64_t)x0 - 1 + j, im.w);
    for (int i = 0; i < TAPS; i++) {
        const double *row = c + mirror((int64_t)y0 - 1 + i, im.h) * im.w;
        for (int j = 0; j < TAPS; j++) sum += wy[i] * wx[j] * row[column[j]];
    }
    return sum;
}

static void find_spline(dd_dc_aug *a, const float *in)
{
    const int64_t h = a->image.h, w = a->image.w;
    for (int64_t i = 0; i < h * w; i++) a->spline[i] = (double)in[i];
    for (int64_t j = 0; j < w; j++) prefilter(a->spline + j, h, w);
    for (int64_t i = 0; i < h; i++) prefilter(a->spline + i * w, w, 1);
}

/* Where pixel 0 lies from the centre of rotation. scipy's larger output has n' = floor(size |cos| + other |sin| + 1/2)
 * pixels about that centre, and its centre crop starts at (n' - size) / 2, rounded down: hence -(size - 1) / 2 where
 * n' - size is even, and half a pixel less where it is odd. */
static double first_pixel(int64_t size, int64_t other, double cosine, double sine)
{
    const double grown = floor((double)size * fabs(cosine) + (double)other * fabs(sine) + 0.5);
    return floor((grown - (double)size) / 2) - (grown - 1) / 2;
}

/* The pixel at (y, x) from the centre shows the source at (cos y + sin x, cos x - sin y); the mean, where that is
 * outside the outermost pixels' centres. */
static void rotate(dd_dc_aug *a, dd_dc_draw d, float *x)
{
    const dd_image im = a->image;
    const double co = cos(d.degrees * DEGREE), si = sin(d.degrees * DEGREE);
    const double top = first_pixel(im.h, im.w, co, si), left = first_pixel(im.w, im.h, co, si);
    const double bottom = (double)(im.h - 1), right = (double)(im.w - 1);
    for (int64_t c = 0; c < im.c; c++) {
        find_spline(a, a->source + c * im.h * im.w);
        for (int64_t i = 0; i < im.h; i++)
            for (int64_t j = 0; j < im.w; j++) {
                const double dy = top + (double)i, dx = left + (double)j;
                const double y = co * dy + si * dx + bottom / 2, z = co * dx - si * dy + right / 2;
                const bool in = y >= 0 && y <= bottom && z >= 0 && z <= right;
                *x++ = (float)(in ? spline_at(a->spline, im, y, z) : a->mean[c]);
            }
    }
}

/* --- batches --- */

void dd_dc_aug_change(dd_dc_aug *a, dd_dc_draw d, float *x)
{
    const int64_t size = a->image.c * a->image.h * a->image.w;
    memcpy(a->source, x, (size_t)size * sizeof *x);
    switch (d.strategy) {
    case DD_DC_CROP: crop(a, d, x); break;
    case DD_DC_SCALE: scale(a, d, x); break;
    case DD_DC_ROTATE: rotate(a, d, x); break;
    case DD_DC_NOISE:
        for (int64_t i = 0; i < size; i++) x[i] += (float)(NOISE * dd_key_normal(d.noise, (uint64_t)i));
        break;
    default: break;
    }
}

static void find_means(dd_dc_aug *a, const float *x, int64_t n)
{
    const int64_t plane = a->image.h * a->image.w;
    for (int64_t c = 0; c < a->image.c; c++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = 0; k < plane; k++) sum += (double)x[(i * a->image.c + c) * plane + k];
        a->mean[c] = sum / (double)(n * plane);
    }
}

void dd_dc_aug_apply(dd_dc_aug *a, float *x, int64_t n, dd_key key)
{
    const int64_t size = a->image.c * a->image.h * a->image.w;
    if (!a->list) return;
    find_means(a, x, n);
    for (int64_t i = 0; i < n; i++)
        dd_dc_aug_change(a, dd_dc_aug_draw(a->list, a->image, dd_key_at(key, "image", (uint64_t)i)), x + i * size);
}

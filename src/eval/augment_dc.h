/* SPDX-License-Identifier: Apache-2.0
 *
 * The augmentation of the DC protocol (Zhao, Mopuri, Bilen 2021): of the listed strategies each image gets one, chosen
 * uniformly and drawn on its own. It changes batches on the host and never enters a graph, unlike DSA (dd_augment).
 * Knows tensor, base; seen by eval/ only. */
#ifndef ATTAR_EVAL_AUGMENT_DC_H
#define ATTAR_EVAL_AUGMENT_DC_H
#include "attar/net.h"

enum { DD_DC_CROP = 1, DD_DC_SCALE = 2, DD_DC_ROTATE = 4, DD_DC_NOISE = 8 };

/* What happens to one image: a pure function of list, image size and key. */
typedef struct dd_dc_draw {
    unsigned strategy; /* one bit DD_DC_*; 0: the image stays as it is */
    int64_t y, x;      /* CROP: first row and column of the window, 0..7; SCALE: height and width, pixels, >= 1 */
    int degrees;       /* ROTATE: -45..44, as scipy.ndimage.rotate turns */
    dd_key noise;      /* NOISE: counter i holds element i of [C,H,W] */
} dd_dc_draw;

typedef struct dd_dc_aug {
    unsigned list; /* bits DD_DC_*; 0: none, the rest is empty */
    dd_image image;
    float *source;  /* [C,H,W] the image before its change */
    double *spline; /* [H,W] spline coefficients of one channel */
    double *mean;   /* [C] of the batch: what crop and rotate fill with */
} dd_dc_aug;

/* Whether the text is for dd_dc_aug_parse: it starts with "dc:". */
bool dd_dc_aug_named(const char *text);
/* Parses "dc:crop_scale_rotate": one or more of crop, scale, rotate, noise. DD_EINVAL names the nearest right word. */
dd_status dd_dc_aug_parse(unsigned *list, const char *text);
/* Room for images of one size; later calls allocate nothing. DD_ENOMEM leaves *a empty. */
dd_status dd_dc_aug_init(dd_dc_aug *a, unsigned list, dd_image image);
void dd_dc_aug_fini(dd_dc_aug *a); /* accepts zeroed ones */

dd_dc_draw dd_dc_aug_draw(unsigned list, dd_image image, dd_key key);
/* Changes one image [C,H,W] in place, filling with a->mean. */
void dd_dc_aug_change(dd_dc_aug *a, dd_dc_draw d, float *x);
/* Changes a batch [n,C,H,W] of normalised pixels in place: image i by the draw of (key, "image", i), a->mean from the
 * batch as it came. */
void dd_dc_aug_apply(dd_dc_aug *a, float *x, int64_t n, dd_key key);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks: a function (graph, theta, x) -> logits whose weights are views of one flat vector theta. */
#ifndef ATTAR_NET_H
#define ATTAR_NET_H
#include "attar/options.h"
#include "attar/program.h"
#include "attar/random.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct dd_net dd_net;

typedef struct dd_image {
    int64_t c, h, w; /* channels, height, width */
} dd_image;

/* One parameter tensor inside theta. */
typedef struct dd_param_info {
    const char *name; /* "conv1.w" */
    int64_t offset;   /* elements */
    dd_shape shape;
} dd_param_info;

/* Opens a network from a specification NAME[:key=value,...], e.g. "convnet:depth=3,width=128,norm=instance".
 * The field's aliases are accepted: ConvNet, ConvNetD4, ConvNetW256, ConvNetBN, MLP, LeNet. DD_ENOTFOUND names
 * the nearest right name or key; DD_EINVAL for an image that the network cannot take. */
dd_status dd_net_open(dd_net **out, const char *spec, dd_image image, int64_t classes);
void dd_net_close(dd_net *n);
const char *dd_net_spec(const dd_net *n); /* canonical, every option spelled out; borrowed */
int64_t dd_net_size(const dd_net *n);     /* P, elements of theta */
int64_t dd_net_features(const dd_net *n); /* F, length of the embedding that enters the last linear layer */
/* Hidden layers: what each makes of an image, after its activation and before any pooling. At most DD_NET_MAPS. */
int dd_net_maps(const dd_net *n);
int64_t dd_net_map_size(const dd_net *n, int i); /* elements of layer i's map of one image; 0 out of range */
int64_t dd_net_stats(const dd_net *n);           /* elements of batch-norm running statistics; 0 without batch norm */
int dd_net_params(const dd_net *n);
const dd_param_info *dd_net_param(const dd_net *n, int i);
/* theta f32 or f64 [P]: weights and biases uniform on +-1/sqrt(fan_in), norm scales 1, shifts 0; with init=xavier
 * weights normal with variance 2/(fan_in+fan_out), biases 0 (Glorot, Bengio 2010; what the DD family starts from); with
 * init=lecun normal with variance 1/fan_in, cut at two standard deviations, biases 0 (what FRePo starts from);
 * with init=nngp normal with variance 2/fan_in, biases 0.01 (what kernels of infinitely wide networks, and RFAD, take).
 */
dd_status dd_net_init(const dd_net *n, dd_tensor *theta, dd_key key);

#define DD_NET_MAPS 8

typedef struct dd_net_out {
    dd_val logits;   /* [N,classes] */
    dd_val features; /* [N,F] */
    dd_val stats;    /* [S] batch mean and unbiased variance of this batch, training mode of batch norm; else poison */
    dd_val maps[DD_NET_MAPS]; /* of the hidden layers, first to last: [N,C,H,W] or [N,F] */
    int nmaps;
} dd_net_out;
/* Builds the network. theta [P]; x [N,C,H,W]; stats [S] frozen running statistics, or poison (id 0) to normalise
 * by the batch (training mode). */
dd_net_out dd_net_apply(dd_graph *g, const dd_net *n, dd_val theta, dd_val x, dd_val stats);

int dd_net_kind_count(void);
const char *dd_net_kind_name(int i); /* NULL out of range */
const char *dd_net_kind_title(int i);
const dd_option *dd_net_kind_options(int i);
const dd_option *dd_net_common_options(void); /* what every network takes beside them */

/* Differentiable augmentation (DSA, Zhao and Bilen 2021). One strategy of the list per draw for the whole batch,
 * parameters shared (Siamese) or per image. */
#define DD_AUG_PARAMS 16
typedef struct dd_aug {
    unsigned list; /* bits DD_AUG_*; 0: none */
    bool frepo;    /* the ranges of FRePo's students (Zhou, Nezhadarya, Ba 2022), which are narrower */
} dd_aug;
enum { DD_AUG_COLOR = 1, DD_AUG_CROP = 2, DD_AUG_CUTOUT = 4, DD_AUG_FLIP = 8, DD_AUG_SCALE = 16, DD_AUG_ROTATE = 32 };
/* Parses "color_crop_cutout_flip_scale_rotate", "frepo:" and such a list, or "none". */
dd_status dd_aug_parse(dd_aug *out, const char *text);
char *dd_aug_text(dd_aug a, char *buf, size_t size);
/* Augments x [N,C,H,W] with params [N,DD_AUG_PARAMS] (an input that dd_aug_draw fills). list 0: x itself. */
dd_val dd_augment(dd_graph *g, dd_aug a, dd_val x, dd_val params);
/* Fills rows of params (f32 [n,DD_AUG_PARAMS]): one strategy; parameters equal in all rows if siamese. */
void dd_aug_draw(dd_aug a, dd_image image, dd_key key, bool siamese, int64_t n, float *params);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a method is to the driver: a row of options and three functions. Methods never include each other. */
#ifndef ATTAR_METHOD_INTERNAL_H
#define ATTAR_METHOD_INTERNAL_H
#include "attar/method.h"
#include "exec/draft.h"

enum { DD_CUTS = 2 };

/* Draws that come from outside, so that a gradient can be compared: what is there takes the place of the run's own. */
typedef struct dd_given {
    const dd_tensor *theta, *target; /* F32 [P]: the network, [networks*P] where the method has several at
                                        once; and where an expert went from it */
    const dd_tensor *aug;            /* F32 [rows,DD_AUG_PARAMS], a row a class or, in unrolled steps, an image */
    const dd_tensor *index;          /* I32 [steps,batch]: the images of each step */
} dd_given;

/* One run, owned by the driver; methods read it and improve r->syn. */
typedef struct dd_run {
    const dd_dataset *data;
    const int32_t *items; /* training items methods may look at (the holdout is not among them) */
    int64_t nitems;
    int64_t *class_first;    /* [classes+1] offsets into class_items */
    int32_t *class_items;    /* [nitems] r->items sorted by class */
    int32_t *scratch;        /* [nitems] room for dd_run_sample_class */
    dd_synset *syn;          /* class-major; images are what a method changes */
    int64_t ipc, iterations; /* iterations: of the whole run */
    const dd_net *net;
    dd_backend *backend;
    dd_aug aug;
    bool learned;   /* the labels are the method's to improve: r->syn->soft_labels */
    dd_key key;     /* of the run: dd_key_at(key, purpose, index) */
    bool skipped;   /* by iterate: this iteration changed nothing, so its loss says nothing about the set */
    int64_t batch;  /* that the method trains networks in, which protocol "adam" repeats; 0: no opinion; for settle */
    int64_t epochs; /* that a network should be trained for on the set, as the method found; 0: it has no opinion */
    char kernel[DD_OPT_TEXT]; /* that protocol "krr" judges by, and its regulariser; "": no opinion; for settle */
    double ridge;
    double momentum;       /* of a network's few steps on the set, which protocol "steps" repeats; settle may set it */
    double loss;           /* set by iterate */
    char notice[200];      /* by build: what the caller should know */
    dd_dtype dtype;        /* of the method's arithmetic: DD_F32, but for comparisons in double */
    const dd_given *given; /* NULL in a run */
    /* Memory is limited: build may cut its work into smaller pieces, or keep less at once. `cut`
     * says down to what it cut each of the method's options `cuts`, since bits depend on it; 0: not at all. Build
     * writes it, a checkpoint keeps it, and a resumed run's build finds it and takes none larger. */
    bool limited;
    int64_t cut[DD_CUTS];
    /* Asked now and then by whatever takes long; false: return dd_run_stopped(). NULL: always on. */
    bool (*going_on)(void *self);
    void (*tell)(void *self, const char *line); /* one sentence for people; NULL: nobody listens */
    void *self;
} dd_run;

static inline void dd_run_tell(const dd_run *r, const char *line)
{
    if (r->tell) r->tell(r->self, line);
}

static inline dd_status dd_run_stopped(void)
{
    return dd_fail(DD_EINTERRUPTED, "stopped on request");
}

/* For between two parts of an iteration. */
static inline dd_status dd_run_asked(const dd_run *r)
{
    return !r->going_on || r->going_on(r->self) ? DD_OK : dd_run_stopped();
}

/* x [n] becomes its softmax. */
void dd_softmax_row(float *x, int64_t n);
/* Gives r->syn soft labels, one-hot at first. For settle. */
dd_status dd_run_soften(dd_run *r);
/* Those become targets of a regression, less 1/C. For settle. */
void dd_run_center(dd_run *r);

/* Memory that a checkpoint must hold beside the images: momentum buffers and the like. */
typedef struct dd_saved {
    const char *name;
    dd_tensor *tensor;
} dd_saved;

typedef struct dd_method {
    const char *name, *title, *cite;
    const dd_option *options; /* offsets into the method's state */
    size_t state_size;        /* zeroed, then options filled in, then build */
    int64_t iterations;       /* default K; 0: a coreset, build alone makes the set */
    int order;                /* of derivative */
    /* What "auto" is for it; NULL: real, the DSA list of the data set, dsa, convnet. */
    const char *init, *aug, *protocol, *net;
    const char *rates;         /* options to lower where it diverges, "lr_img or lr_lr"; NULL: lr_img */
    const char *cost, *memory; /* what a step takes, what memory grows with; one phrase each */
    /* Why a network with batch norm means nothing to it, "means are taken class by class"; NULL: it means something. */
    const char *not_batch;
    const char *not_aug; /* why augmentation means nothing to it; NULL: it means something */
    const char *labels;  /* "hard|soft|learned" or what of it means something, its own choice first; NULL: hard only */
    bool networks;       /* it has several networks at once: attar grad's theta is [networks*P] */
    bool brief; /* an iteration is left before it changes anything or not at all, so the state before it, which is
                   large, need not be kept */
    const char *cuts[DD_CUTS]; /* options of its own that build may lower where memory is limited; NULL: none */
    /* Once the network and the data are known: puts numbers in place of options that say "choose", and refuses what
     * means nothing. What it leaves in the options is what config.json records. It may give the set soft labels and
     * step sizes; in the state it touches nothing but options. NULL: nothing to do. */
    dd_status (*settle)(dd_run *r, void *state);
    dd_status (*build)(dd_run *r, void *state);
    dd_status (*iterate)(dd_run *r, void *state, int64_t it);
    int (*saved)(void *state, dd_saved out[8]); /* returns how many; NULL: none */
    /* For attar grad: r->loss and the gradients of one step from r->syn as it is, without a step; and where they are,
     * named as the set's tensors ("images", "labels", "lr"). NULL: it makes no gradient. */
    dd_status (*gradient)(dd_run *r, void *state, dd_key key);
    int (*gradients)(void *state, dd_saved out[8]);
    /* What the set is made from beside the data, for set.json: "6 experts, SHA-256 ..". NULL: nothing. */
    void (*made_from)(const void *state, char *out, size_t size);
    void (*fini)(void *state);
} dd_method;

/* The table, and a row by name (DD_ENOTFOUND names the nearest). */
const dd_method *dd_method_at(int i);
dd_status dd_method_find(const dd_method **out, const char *name);
/* As dd_method_takes. */
dd_status dd_method_means(const dd_method *m, const char *axis, const char *value);

/* Numbers of n training items of class c, drawn without replacement (again from the start if n exceeds them). */
void dd_run_sample_class(const dd_run *r, int64_t c, int64_t n, dd_key key, int32_t *items);
/* DD_EINVAL for a class with fewer items than ipc; `way_out` says what else could be done. */
dd_status dd_run_enough(const dd_run *r, const char *way_out);
/* Picks ipc items per class into items [classes*ipc] by "random", "herding", "kcenter" or "kmeans", on embeddings of a
 * network trained on r->items for train_epochs (random needs none). DD_EINVAL names a class with fewer items than ipc.
 */
dd_status dd_coreset_select(const dd_run *r, const char *rule, int64_t train_epochs, dd_key key, int32_t *items);
/* What the coreset methods' state is. */
typedef struct dd_coreset {
    int64_t train_epochs;
} dd_coreset;
extern const dd_option dd_coreset_options[];
/* The same, written into r->syn->images. */
dd_status dd_coreset_fill(const dd_run *r, const char *rule, int64_t train_epochs, dd_key key, dd_tensor *images);
#endif

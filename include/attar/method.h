/* SPDX-License-Identifier: Apache-2.0
 *
 * Distillation: the table of methods and the driver that runs any of them. */
#ifndef ATTAR_METHOD_H
#define ATTAR_METHOD_H
#include "attar/eval.h"
#ifdef __cplusplus
extern "C" {
#endif

int dd_method_count(void);
const char *dd_method_name(int i); /* NULL out of range */
const char *dd_method_title(int i);
const char *dd_method_cite(int i);
int dd_method_order(int i);                /* of the derivative that it takes; 0: none */
const char *dd_method_cost(int i);         /* what a step takes, one phrase */
const char *dd_method_memory(int i);       /* what memory grows with, one phrase */
const dd_option *dd_method_options(int i); /* what --set takes */
const dd_option *dd_driver_options(void);  /* fields of dd_distill_opts that --set takes too */

/* What can be combined with a method: axis a ("labels", "init", "aug", "net", "precision") has values 0 .. ("hard",
 * ...). "dsa" stands for any augmentation, "norm=batch" for a network with batch norm. NULL out of range. */
const char *dd_axis_name(int a);
const char *dd_axis_value(int a, int k);
/* DD_OK where that value means something to method i; DD_EUNSUPPORTED: the sentence that dd_distill refuses it with. */
dd_status dd_method_takes(int i, const char *axis, const char *value);

/* Published settings. */
typedef struct dd_preset {
    const char *name;           /* "dsa/cifar10/10": method or variant, data set, images per class */
    const char *method;         /* "dsa" */
    const char *normalise;      /* of dd_data_opts; "auto" */
    const char *settings;       /* "key=value key=value ...", options of the driver and of the method */
    const char *source;         /* where settings and accuracy come from */
    double expected, tolerance; /* test accuracy in %, points */
} dd_preset;
int dd_preset_count(void);
const dd_preset *dd_preset_at(int i);                              /* NULL out of range */
dd_status dd_preset_find(const dd_preset **out, const char *name); /* DD_ENOTFOUND names the nearest */

typedef struct dd_progress {
    int64_t iteration, iterations;
    double loss, rate, eta; /* iterations a second; seconds */
    double accuracy;        /* of the last evaluation, fraction; < 0: none yet */
    int64_t epoch, epochs;  /* of an evaluation, over all its networks, or hundredths of a test by kernel; eta is then
                             * its own. epochs 0: none goes on */
} dd_progress;
typedef bool (*dd_progress_fn)(void *self, const dd_progress *p); /* false: checkpoint and stop */
typedef void (*dd_log_fn)(void *self, const char *line);          /* one sentence for people */

typedef struct dd_distill_plan dd_distill_plan;
typedef void (*dd_plan_fn)(void *self, const dd_distill_plan *p); /* what the run is going to cost */

typedef struct dd_distill_opts {
    char method[DD_OPT_TEXT]; /* "dm" */
    char data[DD_OPT_TEXT];   /* a name or path */
    char out[DD_OPT_TEXT];
    int64_t ipc;                 /* images per class, 1 */
    int64_t seed;                /* 0 */
    int64_t iterations;          /* -1: the method's own default */
    char preset[DD_OPT_TEXT];    /* "", or the one whose method options come before `sets`; see dd_distill_preset */
    double budget;               /* seconds for everything, by fewer iterations; 0: any. Not asked of a run resumed */
    char net[DD_OPT_TEXT];       /* "auto": the method's, else "convnet" */
    char init[DD_OPT_TEXT];      /* "auto": the method's | "real" | "noise" | "herding" | "kcenter" | "kmeans" */
    char init_from[DD_OPT_TEXT]; /* folder of a set whose images are the first ones, in place of init; "": none */
    char aug[DD_OPT_TEXT];       /* "auto": the method's, else the DSA list of the data set */
    char labels[DD_OPT_TEXT];    /* "auto": the method's | "hard" | "soft": a trained network's | "learned" */
    int64_t eval_every;          /* iterations; 0: only at the end */
    int64_t eval_repeats;        /* networks a final evaluation, 3 */
    char protocol[DD_OPT_TEXT];  /* "auto": the method's */
    int64_t eval_epochs;         /* -1: the protocol's */
    double holdout;              /* fraction of the training data held out for selection, 0.1 */
    bool paper_compatible;       /* select on the test set, hold nothing out */
    bool baselines;              /* evaluate random real images beside it, true */
    int64_t checkpoint_every;    /* iterations, 50 */
    char backend[DD_OPT_TEXT];   /* "cpu" */
    int64_t threads;             /* 0: all */
    char precision[DD_OPT_TEXT]; /* "float32", or "bf16": of the method's programs; evaluations stay float32 */
    int64_t memory_limit;        /* bytes of resident memory, data included; 0: any */
    bool resume;
    char tune[1024]; /* file for dd_backend_tune; "": kernels by rules. A resumed run keeps those it began with */
    bool profile;    /* time each instruction and fill the result's table */
    const char *const *sets; /* "key=value" strings for the method, NULL-terminated, or NULL */
    dd_data_opts data_opts;
    dd_progress_fn progress;
    dd_log_fn log;
    dd_plan_fn plan; /* called once, after the first iterations; NULL saves the seconds it takes to know */
    void *self;
} dd_distill_opts;
/* Fills every field with its default. */
dd_status dd_distill_defaults(dd_distill_opts *o);
/* Puts a preset's settings into o; what is changed afterwards stays changed, and the run says so.
 * o->data_opts.normalise becomes a constant. DD_ENOTFOUND. */
dd_status dd_distill_preset(dd_distill_opts *o, const char *name);

/* Where the time of `wall` seconds went; empty unless asked for. */
typedef struct dd_profile_table {
    int rows;
    dd_profile_row row[40]; /* the slowest first */
    double peak;            /* dd_backend_peak */
    double wall;
} dd_profile_table;

typedef struct dd_distill_result {
    dd_eval_result distilled, random; /* repeats 0: not evaluated */
    int64_t iterations;
    double seconds;
    int64_t peak_bytes; /* resident memory */
    dd_profile_table profile;
    char differs[600]; /* from the preset: "iterations 20 for 1000, lr_img 1 for 0.1"; "" */
} dd_distill_result;

/* Whether the result of a run by a preset lies within its tolerance: < 0 below, 0 within, > 0 above. */
int dd_preset_judge(const dd_preset *p, const dd_eval_result *r);

/* Runs to the end, or until progress returns false (DD_EINTERRUPTED after a checkpoint). The folder o->out gets
 * config.json, metrics.jsonl, checkpoint/, and at the end set.safetensors, set.json, grid.png (the best), run.json and,
 * if the last images are others than the best, last.safetensors. It is locked against other runs meanwhile.
 * With resume, continues to the same bits as an uninterrupted run; iterations may grow. With a budget, iterations are
 * measured first, and fewer are made than asked for where they would take longer; DD_EINVAL: not one fits. DD_EEXIST:
 * out holds another run, or one works in it; DD_EINVAL: an option, or names that are not UTF-8; DD_ENOTFOUND: data,
 * method, network; DD_EFORMAT: damaged data or checkpoints; DD_ENUMERIC: the loss left the finite numbers; DD_EIO,
 * DD_ENOMEM. */
dd_status dd_distill(dd_distill_result *out, const dd_distill_opts *o);

struct dd_distill_plan {
    int64_t iterations, networks; /* networks: trained and tested, those on random real images included */
    double per_iteration;         /* seconds */
    double per_network;           /* seconds of training and testing one */
    double seconds;               /* of the whole run */
    int64_t peak_bytes;           /* resident memory of this process at most */
    int64_t disk_bytes;           /* most that the folder will hold */
    dd_profile_table profile;     /* of the measured iterations */
};
/* What dd_distill with these options would cost, from a few iterations and epochs made now, some seconds in all; o->out
 * is not needed and nothing but measured kernels is written. Errors as of dd_distill, without those of the folder;
 * DD_EINVAL for o->resume.
 */
dd_status dd_distill_estimate(dd_distill_plan *out, const dd_distill_opts *o);

/* Loss and gradients of one step of o->method, without making it, from numbers in the safetensors file `from` into the
 * file `to`; how to compare with another implementation (docs/compare.md). `from` holds syn [M,C,H,W], class-major with
 * o->ipc images a class, and what the method needs of real [classes*B,C,H,W] (the real batch, class-major), theta [P]
 * (of rfad [networks*P]) and target [P] (networks), aug [rows,DD_AUG_PARAMS] and index [steps,batch] (I32); what is
 * missing is drawn from o->seed. Images are taken in the space they are in. `to` gets loss and, each in the type
 * computed in, the gradients: images, labels, lr, temperature. type: "float32" or "float64". o->data and the options of
 * evaluations do not matter. DD_EFORMAT, DD_EINVAL: what does not fit; DD_EUNSUPPORTED: a method without gradient;
 * errors of dd_distill. */
dd_status dd_gradient(double *loss, const dd_distill_opts *o, const char *from, const char *to, const char *type);

#ifdef __cplusplus
}
#endif
#endif

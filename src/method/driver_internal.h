/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the driver share: the run and how it is opened, its plan, its checkpoint, its records. Seen by
 * method/ only. */
#ifndef ATTAR_METHOD_DRIVER_INTERNAL_H
#define ATTAR_METHOD_DRIVER_INTERNAL_H
#include "base/memory.h"
#include "method/method_internal.h"

#include <stdio.h>

/* What of a set a method may change: images, soft labels, step sizes, as far as there are any; their number. */
enum { DD_PARTS = 3 };
int dd_set_parts(dd_synset *s, dd_saved out[DD_PARTS]);

/* guard.c: the run as it was after so many iterations. */
typedef struct dd_moment {
    bool there;
    dd_tensor part[DD_PARTS + 8]; /* the set's, as dd_set_parts has them, and the method's own */
    int64_t done, skipped, row, epochs;
    int64_t metrics; /* bytes of metrics.jsonl */
} dd_moment;

typedef struct dd_driver {
    dd_distill_opts o;
    const dd_method *method;
    const dd_preset *preset; /* NULL: none */
    void *state;
    dd_run r;
    dd_dataset *data;
    dd_net *net;
    int32_t *items, *val; /* owned by free() */
    int64_t nitems, nval;
    double held_out; /* fraction of the training data in val */
    int lock;        /* of the output folder; -1: none */
    bool made;       /* the output folder is ours, and empty so far */
    size_t kept;     /* bytes of its path that were there before */
    bool damaged;    /* the newest checkpoint could not be read, the one before it could */
    bool unsure;     /* it was written in a row without an update */
    dd_protocol protocol;
    int64_t own_epochs; /* of the protocol, before a method has an opinion */
    char aug[DD_OPT_TEXT];
    char differs[600];           /* from the preset */
    int64_t allowed;             /* iterations that the budget allows; 0: any */
    char data_name[DD_OPT_TEXT]; /* a known name, or an absolute path */
    FILE *metrics;
    int64_t done;             /* iterations finished */
    int64_t skipped;          /* of them, those that changed nothing */
    int64_t row;              /* of these, the last ones in a row */
    dd_moment before, good;   /* before the iteration at hand, and before the last update */
    dd_tensor best[DD_PARTS]; /* of the best evaluation so far, as dd_set_parts has them */
    double best_accuracy;     /* < 0: none yet */
    double first_loss;        /* of the first iteration that was not skipped */
    int64_t best_epochs;      /* r.epochs then */
    int64_t best_at;
    double started, accuracy;
    double planning; /* seconds spent on knowing the costs */
    int64_t saved;   /* iterations finished when the last checkpoint was written */
    double saved_at; /* and when that was */
    double eval_started;
    int64_t eval_at, eval_first, eval_of; /* epochs of the evaluation: done, before this part of it, all; of 0: none */
    int64_t started_at;
    double loss_deviation, step_deviation; /* of bf16 from float32 in the first iteration, relative; < 0: unknown */
    /* Bytes held at once: the most so far, and during an evaluation; what evaluations and writing files take beside
     * programs, where memory is limited. */
    int64_t most, most_evaluating, reserve;
    dd_distill_result *result;
} dd_driver;

/* open.c: a run without its folder. */
void dd_driver_init(dd_driver *d, const dd_distill_opts *o);
/* Puts what "auto" is for the method into o. */
void dd_driver_choose(dd_distill_opts *o, const dd_method *m);
dd_status dd_driver_open(dd_driver *d);  /* method, data, network, backend */
dd_status dd_driver_build(dd_driver *d); /* first images, compiled programs */
void dd_driver_close(dd_driver *d);
/* A backend as the options have it. */
dd_status dd_driver_backend(const dd_driver *d, const char *precision, dd_backend **out);
bool dd_driver_report(dd_driver *d);                       /* tells the caller how far the run is; false: stop */
bool dd_driver_going_on(void *self);                       /* the same as a dd_run's */
void dd_take_profile(dd_driver *d, dd_profile_table *out); /* what the backend measured */

/* guard.c. An iteration lies between the first two; the second counts it, and ends with DD_ENUMERIC where the run has
 * diverged: the last good state is the checkpoint and the set in the folder then. */
dd_status dd_guard_before(dd_driver *d);
dd_status dd_guard_after(dd_driver *d);
dd_status dd_guard_stopped(dd_driver *d); /* in the middle: back to before it */
dd_status dd_guard_rest(dd_driver *d);    /* between two, in a row without an update: back to before the last one */
/* Says how many iterations changed nothing; DD_ENUMERIC: none changed anything, so there is no set to show. */
dd_status dd_guard_end(const dd_driver *d);
int64_t dd_guard_size(const dd_driver *d); /* bytes that it will still take */
void dd_guard_free(dd_driver *d);

/* presets.c: d->preset and its options of the method; then what the run does otherwise, which is logged. */
dd_status dd_preset_state(dd_driver *d);
dd_status dd_preset_differs(dd_driver *d);

/* budget.c: d->allowed, by measuring the run where it is not recorded. */
dd_status dd_budget_ask(dd_driver *d);
/* Iterations, at most n, that fit with `fixed` seconds of other things. DD_EINVAL: none. */
dd_status dd_budget_fit(const dd_driver *d, const dd_distill_plan *p, double fixed, int64_t n, int64_t *out);

/* probe.c: the first iteration in float32 and in bf16, from the first images, which stay as they are. */
dd_status dd_driver_probe(dd_driver *d);

/* plan.c: opens and measures d, all but the sums; *opened: seconds that opening took, *judging: that measuring networks
 * took. */
dd_status dd_plan_measure(dd_driver *d, dd_distill_plan *out, double *opened, double *judging);
/* The costs of the run from here on, but for those of iterations. */
int64_t dd_plan_judged(const dd_driver *d); /* evaluations at the end; all repeats by kernel are one */
dd_status dd_plan_networks(dd_driver *d, dd_distill_plan *out);
/* Where memory is limited: d->reserve; DD_ENOMEM if a network of the protocol does not fit. */
dd_status dd_plan_fits(dd_driver *d);
void dd_plan_finish(dd_driver *d, dd_distill_plan *out); /* per_iteration is known: fills the sums */

/* checkpoint.c: OUT/checkpoint/state.safetensors, the one before it kept as state.prev.safetensors. */
dd_status dd_checkpoint_save(dd_driver *d);
int64_t dd_checkpoint_size(const dd_driver *d); /* bytes of tensors in one */
/* The kernels that a run to be resumed began with, else those of o.tune. */
dd_status dd_driver_tune(const dd_driver *d, dd_backend *b);
/* How the run to be resumed had cut its work and what bf16 changed in it, if there is a checkpoint that says so. */
bool dd_checkpoint_facts(dd_driver *d);
bool dd_checkpoint_exists(const dd_driver *d); /* whole or not */
/* Restores the newest readable one; *found says whether there was any. */
dd_status dd_checkpoint_load(dd_driver *d, bool *found);
/* The one before the newest takes its place, if it can be read and is of an iteration before the one at hand; what was
 * read of another is left in the run. */
dd_status dd_checkpoint_older(dd_driver *d, bool *found);

/* record.c */
dd_status dd_record_check_names(const dd_driver *d);         /* DD_EINVAL for what JSON cannot hold */
dd_status dd_record_config(const dd_driver *d, dd_str *out); /* config.json: every resolved option */
/* The iterations that config.json records. */
dd_status dd_record_iterations(const char *path, int64_t *out);
dd_status dd_record_check_config(const dd_driver *d, const char *path); /* DD_EEXIST names key and both values */
dd_status dd_record_set(dd_driver *d);                                  /* the set, set.json and its pictures */
dd_status dd_record_run(const dd_driver *d, dd_str *out);               /* run.json: time, memory, machine */
dd_status dd_record_open(dd_driver *d, int64_t length);                 /* metrics.jsonl, cut to length bytes */
void dd_record_loss(dd_driver *d);
void dd_record_accuracy(dd_driver *d);
int64_t dd_record_length(dd_driver *d); /* bytes of metrics.jsonl, those not yet on the disk too */
dd_status dd_record_flush(dd_driver *d, int64_t *length);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder of expert trajectories: the facts in experts.json and the snapshots. Knows nn, data, tensor, base. */
#ifndef ATTAR_EVAL_EXPERT_STORE_H
#define ATTAR_EVAL_EXPERT_STORE_H
#include "attar/experts.h"

enum { DD_EXPERTS_MOST = 1000, DD_EXPERT_EPOCHS_MOST = 999 }; /* three digits name an expert and an epoch */

/* What experts.json says, in the order it is compared in. */
typedef struct dd_expert_facts {
    char format[DD_OPT_TEXT], net[DD_OPT_TEXT];
    int64_t parameters; /* P */
    char data[DD_OPT_TEXT], data_sha256[DD_OPT_TEXT], normalisation[DD_OPT_TEXT];
    char seen_as[DD_OPT_TEXT]; /* shape, mean and standard deviation: "1x28x28 0.2861/0.353" */
    char optimiser[DD_OPT_TEXT];
    double lr, momentum, weight_decay;
    int64_t batch, epoch_steps;
    char aug[DD_OPT_TEXT];
    int64_t seed;
    char store[DD_OPT_TEXT];
    int64_t expert_epochs;
} dd_expert_facts;

typedef struct dd_expert_store {
    char dir[1024];
    dd_expert_facts facts;
    char identity[65]; /* hash of all facts that stay the same while a folder grows */
} dd_expert_store;

/* expert_facts.c */
/* What d and net are; the rest is zero. DD_EINVAL: a name that JSON cannot hold. */
dd_status dd_expert_facts_of(dd_expert_facts *f, const dd_dataset *d, const dd_net *net);
/* DIR/experts.json. DD_ENOTFOUND, DD_EFORMAT, DD_EIO. */
dd_status dd_expert_facts_read(dd_expert_facts *f, const char *dir);
dd_status dd_expert_facts_write(const dd_expert_facts *f, const char *dir);
bool dd_expert_facts_here(const char *dir);
/* DD_EEXIST names the first fact that `now` has otherwise than the folder, expert_epochs apart. */
dd_status dd_expert_facts_same(const dd_expert_facts *then, const dd_expert_facts *now, const char *dir);
/* DD_EINVAL names the first fact about network and data that differs. */
dd_status dd_expert_facts_fit(const dd_expert_facts *then, const dd_expert_facts *now, const char *dir);
dd_status dd_expert_identity(const dd_expert_facts *f, char hex[65]);

/* expert_store.c */
dd_status dd_expert_store_at(dd_expert_store *s, const char *dir); /* DD_EINVAL: too long a path */
/* Snapshots of an expert that are there, from 0 up to the first that is not, at most E+1. */
int64_t dd_expert_have(const dd_expert_store *s, int64_t expert);
/* theta F32 [P]; loss of the epoch before it or -1. Makes the expert's folder. DD_ENUMERIC: weights not finite. */
dd_status dd_expert_write(const dd_expert_store *s, int64_t expert, int64_t epoch, const dd_tensor *theta, double loss);
/* theta and loss may be NULL. *bytes of the file. */
dd_status dd_expert_read(const dd_expert_store *s, int64_t expert, int64_t epoch, dd_tensor *theta, double *loss,
                         size_t *bytes);

struct dd_experts {
    dd_expert_store s;
    const dd_dataset *d;
    const dd_net *net;
    int64_t bytes; /* of one snapshot; all have the same */
    int64_t count, unfinished;
    int32_t expert[DD_EXPERTS_MOST]; /* the finished ones' numbers */
};
#endif

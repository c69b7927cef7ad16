/* SPDX-License-Identifier: Apache-2.0
 *
 * Dataset distillation (Wang, Zhu, Torralba, Efros 2018): images and step sizes through unrolled training. Knows the
 * engine. */
#include "method/perform.h"

static const dd_option options[] = {
    DD_PERFORM_ROWS,
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

const dd_method dd_method_dd = {
    .name = "dd",
    .title = "Dataset distillation by unrolling",
    .cite = "Wang, Zhu, Torralba, Efros 2018",
    .options = options,
    .labels = "hard|soft|learned",
    DD_PERFORM_METHOD(dd_perform_settle),
};

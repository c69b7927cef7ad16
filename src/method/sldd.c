/* SPDX-License-Identifier: Apache-2.0
 *
 * Soft-label dataset distillation (Sucholutsky, Schonlau 2019): labels are learned too, free numbers that begin
 * one-hot. Knows the engine. */
#include "method/perform.h"

static const dd_option options[] = {
    DD_PERFORM_ROWS,
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

const dd_method dd_method_sldd = {
    .name = "sldd",
    .title = "Soft-label dataset distillation",
    .cite = "Sucholutsky, Schonlau 2019",
    .options = options,
    .labels = "learned|hard|soft",
    DD_PERFORM_METHOD(dd_perform_settle),
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * attar grad: loss and gradients of one step of a method, from a file into a file. */
#include "cli/cli.h"
#include <string.h>

typedef struct flags {
    dd_distill_opts d;
    dd_cli_machine machine;
    char set[DD_OPT_TEXT], type[DD_OPT_TEXT];
    bool json;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_grad_flags[] = {
    {"method", DD_OPT_STRING, AT(d.method), "dm", 0, 0, "NAME", "the method; attar methods lists them"},
    {"ipc", DD_OPT_INT, AT(d.ipc), "1", 1, 10000, NULL, "synthetic images per class in the file"},
    {"net", DD_OPT_STRING, AT(d.net), "auto", 0, 0, "SPEC",
     "NAME or NAME:KEY=VALUE,...; attar nets lists them; auto is the method's own"},
    {"aug", DD_OPT_STRING, AT(d.aug), "auto", 0, 0, "LIST",
     "differentiable augmentation, such as color_crop_cutout, or none"},
    {"set", DD_OPT_STRING, AT(set), "", 0, 0, "KEY=VALUE",
     "an option of the method, or labels=hard|soft|learned; may be repeated"},
    {"seed", DD_OPT_INT, AT(d.seed), "0", 0, 9007199254740991.0, NULL, "seed of draws that the file does not hold"},
    {"type", DD_OPT_CHOICE, AT(type), "float32", 0, 0, "float32|float64", "what is computed in"},
    DD_CLI_MACHINE_ROWS(flags, machine),
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print one JSON object instead of a line"},
    {0},
};

dd_status dd_cmd_grad(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    double loss;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_distill_defaults(&f.d));
    DD_TRY(dd_cli_parse(c, &f, &p, 2, false, argc, argv));
    f.d.sets = p.sets;
    f.d.threads = f.machine.threads;
    snprintf(f.d.backend, sizeof f.d.backend, "%s", f.machine.backend);
    dd_cli_tune_path(&f.machine, f.d.tune, sizeof f.d.tune);
    DD_TRY(dd_gradient(&loss, &f.d, p.args[0], p.args[1], f.type));
    if (f.json) {
        printf("{\"loss\": ");
        dd_json_number(stdout, loss);
        puts("}");
    } else {
        printf("loss %.9g; gradients in %s\n", loss, p.args[1]);
    }
    return DD_OK;
}

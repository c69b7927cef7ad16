/* SPDX-License-Identifier: Apache-2.0
 *
 * attar kernel: the kernel matrix between two sets, for use elsewhere. */
#include "cli/cli.h"
#include <string.h>

typedef struct flags {
    dd_cli_machine machine;
    char kernel[DD_OPT_TEXT], type[DD_OPT_TEXT], out[DD_OPT_TEXT];
    int64_t memory;
    bool json, quiet;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_kernel_flags[] = {
    {"kernel", DD_OPT_STRING, AT(kernel), "fc:depth=1", 0, 0, "SPEC",
     "NAME or NAME:KEY=VALUE,...; attar kernels lists them"},
    {"out", DD_OPT_STRING, AT(out), "", 0, 0, "FILE", "safetensors file that receives the matrix; required"},
    {"type", DD_OPT_CHOICE, AT(type), "float64", 0, 0, "float32|float64", "what is computed in"},
    {"memory", DD_OPT_INT, AT(memory), "512", 1, 1e6, NULL, "MiB that pairs of images may take at once"},
    DD_CLI_MACHINE_ROWS(flags, machine),
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print one JSON object instead of a line"},
    {"quiet", DD_OPT_BOOL, AT(quiet), "false", 0, 0, NULL, "no progress"},
    {0},
};

typedef struct watch {
    dd_cli_screen screen;
    double start;
} watch;

static bool on_progress(void *self, double done)
{
    watch *w = self;
    char left[32] = "", line[80];
    if (dd_cli_due(&w->screen, false)) {
        if (done > 0) dd_cli_left(left, sizeof left, (dd_cli_clock() - w->start) * (1 - done) / done);
        snprintf(line, sizeof line, "%.0f %% of the pairs  %s", 100 * done, left);
        dd_cli_print_line(&w->screen, line);
    }
    return !dd_cli_stop_requested();
}

dd_status dd_cmd_kernel(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    dd_backend *b = NULL;
    dd_shape shape;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 2, true, argc, argv));
    if (!p.nargs) return dd_fail(DD_EINVAL, "kernel: expected %s; see attar help kernel", c->args);
    if (!f.out[0]) return dd_fail(DD_EINVAL, "kernel needs --out FILE, the safetensors file that receives the matrix");
    DD_TRY(dd_cli_backend(&b, &f.machine));
    watch seen = {dd_cli_screen_new(f.quiet), dd_cli_clock()};
    dd_cli_catch_signals();
    const dd_status s = dd_kernel_write(b, f.kernel, p.args[0], p.nargs > 1 ? p.args[1] : NULL, f.out,
                                        strcmp(f.type, "float64") == 0, f.memory << 20, on_progress, &seen, &shape);
    dd_cli_end_line(&seen.screen);
    dd_backend_close(b);
    DD_TRY(s);
    if (f.json)
        printf("{\"rows\": %lld, \"columns\": %lld}\n", (long long)shape.dim[0], (long long)shape.dim[1]);
    else
        printf("kernel %lldx%lld in %s\n", (long long)shape.dim[0], (long long)shape.dim[1], f.out);
    return DD_OK;
}

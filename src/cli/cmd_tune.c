/* SPDX-License-Identifier: Apache-2.0
 *
 * attar tune: measures the convolution kernels that a network needs and shows which was faster. */
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

enum { ROWS = 512 };

typedef struct flags {
    dd_cli_machine machine;
    char net[DD_OPT_TEXT], image[DD_OPT_TEXT];
    int64_t batch;
    bool json;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_tune_flags[] = {
    {"net", DD_OPT_STRING, AT(net), "convnet", 0, 0, "SPEC", "NAME or NAME:KEY=VALUE,...; attar nets lists them"},
    {"image", DD_OPT_STRING, AT(image), "3x32x32", 0, 0, "CxHxW", "what the network sees"},
    {"batch", DD_OPT_INT, AT(batch), "32", 1, 4096, NULL, "images at a time; kernels of 32 and more are alike"},
    DD_CLI_MACHINE_ROWS(flags, machine),
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print one JSON object instead of the table"},
    {0},
};

static dd_status read_image(const char *text, dd_image *out)
{
    long long c, h, w;
    char more;
    if (sscanf(text, "%lldx%lldx%lld%c", &c, &h, &w, &more) != 3 || c < 1 || h < 1 || w < 1 || c > 4096 || h > 4096 ||
        w > 4096)
        return dd_fail(DD_EINVAL, "tune: --image %s: give channels, height and width, such as 3x32x32", text);
    *out = (dd_image){c, h, w};
    return DD_OK;
}

/* Compiles one step of training, which has all passes of every convolution; compiling measures what is new. */
static dd_status compile(dd_backend *b, const dd_net *net, dd_image im, int64_t batch)
{
    enum { CLASSES = 10 };
    dd_graph *g = dd_graph_new();
    dd_program *p = NULL;
    if (!g) return dd_fail(DD_ENOMEM, "out of memory for a graph");
    const dd_val theta = dd_input(g, "theta", DD_F32, DD_SHAPE(dd_net_size(net)));
    const dd_val x = dd_input(g, "x", DD_F32, DD_SHAPE(batch, im.c, im.h, im.w));
    const dd_val y = dd_input(g, "y", DD_F32, DD_SHAPE(batch, CLASSES));
    const dd_val loss = dd_xent(g, dd_net_apply(g, net, theta, x, (dd_val){0}).logits, y), wrt[2] = {theta, x};
    dd_val d[2];
    dd_grad(g, loss, 2, wrt, d);
    dd_output(g, "dtheta", d[0]);
    dd_output(g, "dx", d[1]);
    const dd_status s = dd_compile(&p, g, b);
    dd_program_free(p);
    dd_graph_free(g);
    return s;
}

static void print(const dd_tune_row *rows, int n, const char *path, bool json)
{
    if (json) printf("{\"file\": "), dd_json_text(stdout, path), printf(", \"kernels\": [");
    if (!json) printf("%-64s %10s %10s\n", "convolution", "ours, ms", "oneDNN, ms");
    for (int i = 0; i < n; i++) {
        if (!json && rows[i].ours == 1 && rows[i].theirs == 1) {
            printf("%-64s %10s %10s\n", rows[i].shape, "taken", "-");
            continue;
        }
        if (!json) {
            printf("%-64s %10.3f %10.3f\n", rows[i].shape, 1e3 * rows[i].ours, 1e3 * rows[i].theirs);
            continue;
        }
        printf(i ? ", {\"shape\": " : "{\"shape\": ");
        dd_json_text(stdout, rows[i].shape);
        printf(", \"ours\": ");
        dd_json_number(stdout, rows[i].ours);
        printf(", \"onednn\": ");
        dd_json_number(stdout, rows[i].theirs);
        printf("}");
    }
    if (json)
        puts("]}");
    else
        printf("kept in %s; oneDNN's is taken where it needs less than 0.9 of the time\n", path);
}

dd_status dd_cmd_tune(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    dd_image im;
    dd_net *net = NULL;
    dd_backend *b = NULL;
    char path[600];
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 0, false, argc, argv));
    DD_TRY(read_image(f.image, &im));
    dd_cli_tune_path(&f.machine, path, sizeof path);
    if (!path[0])
        return dd_fail(DD_EINVAL,
                       "tune: there is no folder to keep measured kernels in, or they are not wanted: set HOME or "
                       "XDG_CACHE_HOME, use --backend cpu and leave out --no-tune");
    dd_tune_row *rows = calloc(ROWS, sizeof *rows);
    dd_status s = rows ? dd_net_open(&net, f.net, im, 10) : dd_fail(DD_ENOMEM, "out of memory");
    if (s == DD_OK) s = dd_backend_open(&b, f.machine.backend, (int)f.machine.threads);
    if (s == DD_OK) s = dd_backend_tune(b, path);
    if (s == DD_OK) s = compile(b, net, im, f.batch);
    if (s == DD_OK) s = dd_backend_remember(b, path); /* says why if it cannot be kept */
    if (s == DD_OK) print(rows, dd_backend_tune_rows(b, rows, ROWS), path, f.json);
    free(rows);
    if (b) dd_backend_close(b);
    if (net) dd_net_close(net);
    return s;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of a profile, for people and as JSON. */
#include "cli/cli.h"

static double total(const dd_profile_table *t)
{
    double s = 0;
    for (int i = 0; i < t->rows; i++) s += t->row[i].seconds;
    return s;
}

void dd_json_profile(FILE *f, const dd_profile_table *t)
{
    fputs("{\"peak_flops\": ", f);
    dd_json_number(f, t->peak);
    fputs(", \"seconds\": ", f);
    dd_json_number(f, t->wall);
    fputs(", \"rows\": [", f);
    for (int i = 0; i < t->rows; i++) {
        const dd_profile_row *r = &t->row[i];
        fputs(i ? ", {\"name\": " : "{\"name\": ", f);
        dd_json_text(f, r->name);
        fprintf(f, ", \"runs\": %lld, \"seconds\": ", (long long)r->runs);
        dd_json_number(f, r->seconds);
        fputs(", \"flop\": ", f);
        dd_json_number(f, r->flop);
        fputs(", \"bytes\": ", f);
        dd_json_number(f, r->bytes);
        fputc('}', f);
    }
    fputs("]}", f);
}

static void rate(FILE *f, double amount, double seconds)
{
    if (amount > 0 && seconds > 0)
        fprintf(f, " %8.1f", 1e-9 * amount / seconds);
    else
        fprintf(f, " %8s", "");
}

static void line(FILE *f, const dd_profile_table *t, const dd_profile_row *r)
{
    fprintf(f, "%-46s %5.1f %9.3f %8lld", r->name, t->wall > 0 ? 100 * r->seconds / t->wall : 0, r->seconds,
            (long long)r->runs);
    rate(f, r->flop, r->seconds);
    if (r->flop > 0 && r->seconds > 0 && t->peak > 0)
        fprintf(f, " %7.2f", r->flop / r->seconds / t->peak);
    else
        fprintf(f, " %7s", "");
    rate(f, r->bytes, r->seconds);
    fputc('\n', f);
}

void dd_cli_end_profile(dd_backend *b, double seconds)
{
    dd_profile_table t = {.wall = seconds};
    t.rows = b ? dd_backend_profile_rows(b, t.row, (int)DD_LEN(t.row)) : 0;
    if (!t.rows) return;
    t.peak = dd_backend_peak(b);
    dd_print_profile(stderr, &t);
}

void dd_print_profile(FILE *f, const dd_profile_table *t)
{
    dd_profile_row all = {.name = "all instructions"}, rest = {.name = "between them"};
    if (!t->rows) {
        fputs("no instruction was timed: this method makes no iterations\n", f);
        return;
    }
    fprintf(f, "\n%-46s %5s %9s %8s %8s %7s %8s\n", "instruction", "%", "seconds", "runs", "GFLOP/s", "of peak",
            "GB/s");
    for (int i = 0; i < t->rows; i++) {
        line(f, t, &t->row[i]);
        all.runs += t->row[i].runs;
        all.flop += t->row[i].flop;
        all.bytes += t->row[i].bytes;
    }
    all.seconds = total(t);
    rest.seconds = t->wall - all.seconds;
    line(f, t, &all);
    line(f, t, &rest);
    fprintf(f, "peak of float32 multiply-adds %.1f GFLOP/s, measured; contractions count as direct ones\n",
            1e-9 * t->peak);
}

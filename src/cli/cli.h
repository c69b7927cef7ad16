/* SPDX-License-Identifier: Apache-2.0
 *
 * What a command is to main.c, and what commands share. The command line uses what any user can use: include/attar
 * and the C library. */
#ifndef ATTAR_CLI_H
#define ATTAR_CLI_H
#include <attar/attar.h>
#include <stdio.h>

enum { DD_CLI_SETS = 64, DD_CLI_ARGS = 4 };

/* One row of the command table. `options` are dd_option rows whose names are the long options; BOOL rows are flags
 * without a value, the row "set" may be repeated, and in STRING rows `choices` is the word that help shows for the
 * value (FILE, DIR, ...). */
typedef struct dd_command {
    const char *name, *args;    /* "eval", "DIR" */
    const char *sentence;       /* one line for the list of commands */
    const char *about;          /* one paragraph */
    const char *examples[2][2]; /* command, what it does */
    const dd_option *options;
    dd_status (*run)(const struct dd_command *self, int argc, char **argv);
} dd_command;

/* What the parser collected beside the option struct. */
typedef struct dd_parsed {
    const char *args[DD_CLI_ARGS];
    int nargs;
    const char *sets[DD_CLI_SETS + 1]; /* NULL-terminated */
    int nsets;
} dd_parsed;

const dd_command *dd_command_at(int i); /* NULL: past the end */
/* Fills dst with defaults, then reads argv. Exactly `nargs` operands, or fewer if `optional`. DD_EINVAL. */
dd_status dd_cli_parse(const dd_command *c, void *dst, dd_parsed *out, int nargs, bool optional, int argc, char **argv);
/* The word help shows for an option's value; "" for flags. */
const char *dd_cli_value_word(const dd_option *o);

void dd_help_main(FILE *f);
void dd_help_command(FILE *f, const dd_command *c);
void dd_help_options(FILE *f, const dd_option *table, const char *dashes);
void dd_wrap(FILE *f, const char *text, int indent, int column);
void dd_man_page(FILE *f);
dd_status dd_completion(FILE *f, const char *shell);

void dd_json_text(FILE *f, const char *s); /* quoted and escaped */
void dd_json_number(FILE *f, double x);    /* null for what JSON cannot say */
void dd_json_options(FILE *f, const dd_option *table);
void dd_json_result(FILE *f, const dd_eval_result *r);
void dd_mean_text(char *buf, size_t size, double mean, double std);
double dd_cli_clock(void); /* seconds, monotonic */
/* Reads "HxW". DD_EINVAL. */
dd_status dd_cli_resize(const char *text, dd_data_opts *o);

dd_status dd_cmd_distill(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_eval(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_train(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_info(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_export(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_data(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_ops(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_methods(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_nets(const dd_command *c, int argc, char **argv);
extern const dd_option dd_distill_flags[], dd_eval_flags[], dd_train_flags[], dd_info_flags[], dd_export_flags[],
    dd_data_flags[], dd_table_flags[];
#endif

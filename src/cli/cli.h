/* SPDX-License-Identifier: Apache-2.0
 *
 * What a command is to main.c, and what commands share. The command line uses what any user can use: include/attar
 * and the C library. */
#ifndef ATTAR_CLI_H
#define ATTAR_CLI_H
#include <attar/attar.h>
#include <stddef.h>
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

/* How the real data are opened: a member of a command's flags, and the rows that fill member `at` of struct T. */
typedef struct dd_cli_data {
    char dir[DD_OPT_TEXT], resize[DD_OPT_TEXT], classes[DD_OPT_TEXT], normalise[DD_OPT_TEXT];
    int64_t channels;
} dd_cli_data;

#define DD_CLI_DIR_ROW(T, at)                                                                                          \
    {                                                                                                                  \
        "data-dir", DD_OPT_STRING, offsetof(T, at.dir), "", 0, 0, "DIR", "folder searched first for known data sets"   \
    }
#define DD_CLI_FOLDER_ROWS(T, at)                                                                                      \
    {"resize", DD_OPT_STRING, offsetof(T, at.resize), "", 0, 0, "HxW", "size that images of a folder are brought to"}, \
        {"channels",                                                                                                   \
         DD_OPT_INT,                                                                                                   \
         offsetof(T, at.channels),                                                                                     \
         "0",                                                                                                          \
         0,                                                                                                            \
         3,                                                                                                            \
         NULL,                                                                                                         \
         "images of a folder become 1 grey or 3 colour; 0: as they are"},                                              \
    {                                                                                                                  \
        "classes", DD_OPT_STRING, offsetof(T, at.classes), "", 0, 0, "FILE",                                           \
            "class names, one a line, in the order of their numbers"                                                   \
    }
#define DD_CLI_NORMALISE_ROW(T, at)                                                                                    \
    {                                                                                                                  \
        "normalise", DD_OPT_STRING, offsetof(T, at.normalise), "auto", 0, 0, "HOW",                                    \
            "auto, computed, none, zca-mtt, zca-kip, zca-frepo, zca-rfad (whitening), or MEAN[,MEAN..]/STD[,STD..]"    \
    }
/* DD_EINVAL for sizes that are none. The texts stay f's. */
dd_status dd_cli_data_opts(const dd_cli_data *f, dd_data_opts *out);

/* What computes, and the rows of every command that does. */
typedef struct dd_cli_machine {
    char backend[DD_OPT_TEXT];
    int64_t threads;
    bool no_tune;
} dd_cli_machine;
#define DD_CLI_MACHINE_ROWS(T, at)                                                                                     \
    {"backend",                                                                                                        \
     DD_OPT_STRING,                                                                                                    \
     offsetof(T, at.backend),                                                                                          \
     "cpu",                                                                                                            \
     0,                                                                                                                \
     0,                                                                                                                \
     "cpu|ref",                                                                                                        \
     "cpu is fast, ref is the plain reference"},                                                                       \
        {"threads", DD_OPT_INT, offsetof(T, at.threads), "0", 0, 4096, NULL, "threads; 0: all cores"},                 \
    {                                                                                                                  \
        "no-tune", DD_OPT_BOOL, offsetof(T, at.no_tune), "false", 0, 0, NULL,                                          \
            "choose convolution kernels by rules, the same on every machine, and not by measuring them (attar tune)"   \
    }
dd_status dd_cli_backend(dd_backend **out, const dd_cli_machine *m);
/* The file of measured kernels, in the user's cache, its folder made; "" if there is none or the machine is not to be
 * tuned. */
void dd_cli_tune_path(const dd_cli_machine *m, char *path, size_t size);

/* Real data, a network for them and a backend: what commands that train start from. */
typedef struct dd_cli_world {
    dd_dataset *data;
    dd_net *net;
    dd_backend *backend;
} dd_cli_world;
/* `command` names itself in the message about a missing --data. To be closed also after a failure. */
dd_status dd_cli_open(dd_cli_world *w, const char *command, const char *data, const dd_cli_data *from, const char *net,
                      const dd_cli_machine *machine);
void dd_cli_close(dd_cli_world *w);

#define DD_CLI_PROFILE_ROW(T, on)                                                                                      \
    {                                                                                                                  \
        "profile", DD_OPT_BOOL, offsetof(T, on), "false", 0, 0, NULL,                                                  \
            "show on stderr where the time went, by kind of instruction"                                               \
    }
/* The table of what b measured in `seconds`, if profiling is on. */
void dd_cli_end_profile(dd_backend *b, double seconds);

/* Progress of a long command on stderr: one line that is rewritten on a terminal, else a line every ten seconds. */
typedef struct dd_cli_screen {
    bool tty, quiet, dirty; /* dirty: an unfinished line is on the terminal */
    double last;
} dd_cli_screen;
dd_cli_screen dd_cli_screen_new(bool quiet);
bool dd_cli_due(dd_cli_screen *s, bool final); /* whether a line is to be printed now */
void dd_cli_print_line(dd_cli_screen *s, const char *text);
void dd_cli_end_line(dd_cli_screen *s);
void dd_cli_left(char *buf, size_t size, double seconds); /* "0:01:05 left" */
/* The first signal asks to stop; the handler is then gone, so the second one ends the process. */
void dd_cli_catch_signals(void);
bool dd_cli_stop_requested(void);

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
/* The same over what dst holds in place of the defaults. */
dd_status dd_cli_read(const dd_command *c, void *dst, dd_parsed *out, int nargs, bool optional, int argc, char **argv);
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
void dd_json_profile(FILE *f, const dd_profile_table *t);
void dd_print_profile(FILE *f, const dd_profile_table *t);
double dd_cli_clock(void); /* seconds, monotonic */

dd_status dd_cmd_distill(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_plan(const dd_command *c, int argc, char **argv); /* plan and profile */
dd_status dd_cmd_eval(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_baseline(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_train(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_experts(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_tune(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_grad(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_info(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_export(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_data(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_ops(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_methods(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_presets(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_nets(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_kernel(const dd_command *c, int argc, char **argv);
dd_status dd_cmd_kernels(const dd_command *c, int argc, char **argv);
extern const dd_option dd_distill_flags[], dd_eval_flags[], dd_baseline_flags[], dd_train_flags[], dd_experts_flags[],
    dd_tune_flags[], dd_grad_flags[], dd_kernel_flags[], dd_info_flags[], dd_export_flags[], dd_data_flags[],
    dd_table_flags[], dd_methods_flags[], dd_presets_flags[];
#endif

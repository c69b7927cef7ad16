/* SPDX-License-Identifier: Apache-2.0
 *
 * Help, manual page and shell completion, all printed from the command and option tables. */
#include "cli/cli.h"
#include <string.h>

typedef struct row {
    const char *left, *right;
} row;

static const row statuses[] = {
    {"0", "success"},
    {"1", "an error of no other kind"},
    {"2", "usage: a bad argument, option value or shape"},
    {"3", "a file is not what it claims to be (truncated, corrupt, inconsistent)"},
    {"4", "reading or writing failed, or the disk is full"},
    {"5", "out of memory"},
    {"6", "no such file, data set, method, network or key"},
    {"7", "the output folder belongs to another run"},
    {"8", "a combination that means nothing or is not built in"},
    {"9", "numeric failure: a value is not finite, a matrix is singular"},
    {"130", "interrupted; the run was checkpointed and goes on with --resume"},
};
static const row files[] = {
    {"set.safetensors", "images [M,C,H,W] (normalised, f32), labels, and soft labels and learning rates if learnt"},
    {"whitening.safetensors", "what whitens test images like these; of sets made with --normalise zca-..."},
    {"set.json", "the recipe, results, class names, normalisation, and the hashes of the former"},
    {"grid.png", "the images, a class per row, in natural colours"},
    {"metrics.jsonl", "one line per evaluation"},
    {"run.json", "what the run was started with"},
    {"checkpoint/", "what --resume needs"},
};
static const row environment[] = {
    {"ATTAR_DATA", "folder searched for data sets after --data-dir"},
    {"XDG_DATA_HOME, XDG_DATA_DIRS", "data folders searched next, before /usr/share/datasets"},
    {"NO_COLOR", "honoured: attar never writes colours"},
    {"OMP_NUM_THREADS", "threads used when --threads is 0"},
    {"GOMP_SPINCOUNT, OMP_WAIT_POLICY", "how long threads wait for others before they sleep; half a millisecond unless "
                                        "one is set"},
    {"OPENBLAS_CORETYPE", "unless set, the kernels that fit where OpenBLAS does not know the processor"},
};

void dd_wrap(FILE *f, const char *text, int indent, int column)
{
    int at = column;
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (at > indent && at + 1 + n > 79) {
            fprintf(f, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', f);
            at++;
        } else {
            fprintf(f, "%*s", indent - at, "");
            at = indent;
        }
        fprintf(f, "%.*s", n, text);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', f);
}

void dd_help_options(FILE *f, const dd_option *table, const char *dashes)
{
    for (const dd_option *o = table; o->name; o++) {
        char text[700];
        const char *word = dd_cli_value_word(o);
        const bool shown = o->type != DD_OPT_BOOL || dashes[0] == 0;
        int n = fprintf(f, "  %s%s%s%s", dashes, o->name, *word ? (*dashes ? " " : "=") : "", word);
        snprintf(text, sizeof text, "%s", o->help ? o->help : "");
        const size_t len = strlen(text);
        if (shown && o->def && o->def[0]) snprintf(text + len, sizeof text - len, " [%s]", o->def);
        if (n > 26) {
            fputc('\n', f);
            n = 0;
        }
        dd_wrap(f, text, 28, n);
    }
}

void dd_help_main(FILE *f)
{
    fputs("Usage: attar COMMAND [OPTION]...\n\n", f);
    dd_wrap(f,
            "attar distils image data sets: it makes a few synthetic images per class that train a network nearly as "
            "well as the whole data set does.",
            0, 0);
    fputs("\nCommands:\n", f);
    for (int i = 0; dd_command_at(i); i++)
        fprintf(f, "  %-10s %s\n", dd_command_at(i)->name, dd_command_at(i)->sentence);
    fputs("  help       show this text, or that of a command: attar help COMMAND\n\n"
          "Options:\n"
          "  --help     show this text\n"
          "  --version  show the version and how it was built\n\n"
          "A first set takes seconds:\n"
          "  attar distill --data digits --net convnet:depth=2,width=32 --iterations 200 \\\n"
          "      --set lr_img=1 --eval-epochs 200 --out runs/digits\n"
          "  attar eval runs/digits\n\n"
          "attar help --man prints the manual page, attar help --completion bash|zsh|fish\n"
          "a completion script.\n\nExit status:\n",
          f);
    for (size_t i = 0; i < DD_LEN(statuses); i++) {
        const int n = fprintf(f, "  %s", statuses[i].left);
        dd_wrap(f, statuses[i].right, 10, n);
    }
}

void dd_help_command(FILE *f, const dd_command *c)
{
    fprintf(f, "Usage: attar %s%s%s [OPTION]...\n\n", c->name, *c->args ? " " : "", c->args);
    dd_wrap(f, c->about, 0, 0);
    fputs("\nOptions (defaults in brackets):\n", f);
    dd_help_options(f, c->options, "--");
    fputs("  --help                    show this text\n\nExamples:\n", f);
    for (int i = 0; i < 2; i++) {
        fprintf(f, "  %s\n", c->examples[i][0]);
        dd_wrap(f, c->examples[i][1], 6, 0);
    }
}

/* Text for roff: a leading dot or quote and every backslash and hyphen are protected. */
static void roff(FILE *f, const char *s)
{
    if (*s == '.' || *s == '\'') fputs("\\&", f);
    for (; *s; s++) {
        if (*s == '-')
            fputs("\\-", f);
        else if (*s == '\\')
            fputs("\\e", f);
        else
            fputc(*s, f);
    }
}

static void man_item(FILE *f, const char *term, const char *word, const char *text, const char *def)
{
    fputs(".TP\n\\fB", f);
    roff(f, term);
    fputs("\\fR", f);
    if (*word) {
        fputs(" \\fI", f);
        roff(f, word);
        fputs("\\fR", f);
    }
    fputc('\n', f);
    roff(f, text);
    if (def && *def) {
        fputs(" Default: ", f);
        roff(f, def);
        fputc('.', f);
    }
    fputc('\n', f);
}

static void man_command(FILE *f, const dd_command *c)
{
    char name[80];
    fprintf(f, ".SS attar %s %s\n", c->name, c->args);
    roff(f, c->about);
    fputc('\n', f);
    for (const dd_option *o = c->options; o->name; o++) {
        snprintf(name, sizeof name, "--%s", o->name);
        man_item(f, name, dd_cli_value_word(o), o->help, o->type == DD_OPT_BOOL ? "" : o->def);
    }
}

static void man_rows(FILE *f, const char *title, const row *rows, size_t n)
{
    fprintf(f, ".SH %s\n", title);
    for (size_t i = 0; i < n; i++) man_item(f, rows[i].left, "", rows[i].right, "");
}

void dd_man_page(FILE *f)
{
    fprintf(f, ".TH ATTAR 1 \"\" \"attar %s\" \"User Commands\"\n", dd_version());
    fputs(".SH NAME\nattar \\- distil image data sets\n.SH SYNOPSIS\n.B attar\n.I COMMAND\n[\\fIOPTION\\fR]...\n"
          ".SH DESCRIPTION\nattar makes a few synthetic images per class that train a network nearly as well as the "
          "whole data set does, and measures how well.\n.SH COMMANDS\n",
          f);
    for (int i = 0; dd_command_at(i); i++) man_command(f, dd_command_at(i));
    fputs(".SS attar help [COMMAND] [--man] [--completion bash|zsh|fish]\nShows help, this page or a completion "
          "script.\n",
          f);
    man_rows(f, "EXIT STATUS", statuses, DD_LEN(statuses));
    man_rows(f, "FILES", files, DD_LEN(files));
    man_rows(f, "ENVIRONMENT", environment, DD_LEN(environment));
    fputs(".SH EXAMPLES\n", f);
    for (int i = 0; dd_command_at(i); i++)
        for (int k = 0; k < 2; k++)
            man_item(f, dd_command_at(i)->examples[k][0], "", dd_command_at(i)->examples[k][1], "");
}

static void bash_names(FILE *f, const dd_command *c)
{
    for (const dd_option *o = c->options; o->name; o++) fprintf(f, "--%s ", o->name);
    fputs("--help", f);
}

static void complete_bash(FILE *f)
{
    fputs(
        "_attar() {\n    local cur=${COMP_WORDS[COMP_CWORD]} words=\n    if ((COMP_CWORD == 1)); then\n        words='",
        f);
    for (int i = 0; dd_command_at(i); i++) fprintf(f, "%s ", dd_command_at(i)->name);
    fputs("help --help --version'\n    else\n        case ${COMP_WORDS[1]} in\n", f);
    for (int i = 0; dd_command_at(i); i++) {
        fprintf(f, "        %s) words='", dd_command_at(i)->name);
        bash_names(f, dd_command_at(i));
        fputs("' ;;\n", f);
    }
    fputs("        help) words='--man --completion", f);
    for (int i = 0; dd_command_at(i); i++) fprintf(f, " %s", dd_command_at(i)->name);
    fputs("' ;;\n        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "    [[ $cur == -* || ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"$cur\"))\n}\n"
          "complete -o filenames -F _attar attar\n",
          f);
}

/* Help inside single quotes of zsh or fish, without the characters that end a description. */
static void quoted(FILE *f, const char *s)
{
    for (; *s; s++) {
        if (*s == '\'')
            fputs("'\\''", f);
        else
            fputc(*s == '[' || *s == ']' || *s == ':' ? ' ' : *s, f);
    }
}

static void complete_zsh(FILE *f)
{
    fputs("#compdef attar\n_attar() {\n    local -a commands\n    commands=(\n", f);
    for (int i = 0; dd_command_at(i); i++) {
        fprintf(f, "        '%s:", dd_command_at(i)->name);
        quoted(f, dd_command_at(i)->sentence);
        fputs("'\n", f);
    }
    fputs("        'help:show help'\n    )\n    if ((CURRENT == 2)); then _describe command commands; return; fi\n"
          "    local command=$words[2]\n    shift words; ((CURRENT--))\n    case $command in\n",
          f);
    for (int i = 0; dd_command_at(i); i++) {
        fprintf(f, "    %s) _arguments '*:file:_files' ", dd_command_at(i)->name);
        for (const dd_option *o = dd_command_at(i)->options; o->name; o++) {
            fprintf(f, "\\\n        '--%s[", o->name);
            quoted(f, o->help);
            fprintf(f, "]%s' ", o->type == DD_OPT_BOOL ? "" : ":value:_files");
        }
        fputs(";;\n", f);
    }
    fputs("    help) _describe command commands ;;\n    esac\n}\n_attar \"$@\"\n", f);
}

static void complete_fish(FILE *f)
{
    for (int i = 0; dd_command_at(i); i++) {
        const dd_command *c = dd_command_at(i);
        fprintf(f, "complete -c attar -n __fish_use_subcommand -f -a %s -d '", c->name);
        quoted(f, c->sentence);
        fputs("'\n", f);
        for (const dd_option *o = c->options; o->name; o++) {
            fprintf(f, "complete -c attar -n '__fish_seen_subcommand_from %s' -l %s %s -d '", c->name, o->name,
                    o->type == DD_OPT_BOOL ? "" : "-r");
            quoted(f, o->help);
            fputs("'\n", f);
        }
    }
}

dd_status dd_completion(FILE *f, const char *shell)
{
    static const row shells[] = {{"bash", ""}, {"zsh", ""}, {"fish", ""}};
    size_t i = 0;
    while (i < DD_LEN(shells) && strcmp(shell, shells[i].left) != 0) i++;
    if (i == DD_LEN(shells))
        return dd_fail(DD_EINVAL, "there is no completion for \"%s\"; the shells are bash, zsh and fish", shell);
    void (*const print[])(FILE *) = {complete_bash, complete_zsh, complete_fish};
    print[i](f);
    return DD_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The way from argv to an exit status. */
#include "cli/cli.h"
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_COMMANDS = 32 };

static dd_status find_command(const dd_command **out, const char *name)
{
    const char *names[MOST_COMMANDS + 2] = {"help"};
    for (int i = 0; i < MOST_COMMANDS && (*out = dd_command_at(i)); i++) {
        names[i + 1] = (*out)->name;
        if (strcmp(name, (*out)->name) == 0) return DD_OK;
    }
    const char *near = dd_nearest(name, names);
    *out = NULL;
    if (near) return dd_fail(DD_EINVAL, "there is no command \"%s\", did you mean \"%s\"?", name, near);
    return dd_fail(DD_EINVAL, "there is no command \"%s\"; attar help lists them", name);
}

static dd_status help(int argc, char **argv)
{
    const dd_command *c;
    if (argc == 0) {
        dd_help_main(stdout);
        return DD_OK;
    }
    if (strcmp(argv[0], "--man") == 0 && argc == 1) {
        dd_man_page(stdout);
        return DD_OK;
    }
    if (strcmp(argv[0], "--completion") == 0) {
        if (argc != 2) return dd_fail(DD_EINVAL, "help --completion needs a shell: bash, zsh or fish");
        return dd_completion(stdout, argv[1]);
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "help") == 0)
        return help(0, argv);
    if (argv[0][0] == '-')
        return dd_fail(DD_EINVAL,
                       "help: %s does not stand here; it takes a command, or --man, or --completion SHELL, alone",
                       argv[0]);
    if (argc > 1) return dd_fail(DD_EINVAL, "help: \"%s\" is one argument too many", argv[1]);
    DD_TRY(find_command(&c, argv[0]));
    dd_help_command(stdout, c);
    return DD_OK;
}

static dd_status run(int argc, char **argv)
{
    const dd_command *c;
    if (argc < 2) return dd_fail(DD_EINVAL, "no command is given; attar help lists them");
    if (strcmp(argv[1], "help") == 0) return help(argc - 2, argv + 2);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return help(0, argv);
    if (strcmp(argv[1], "--version") == 0) {
        printf("attar %s\n%s\n", dd_version(), dd_build_info());
        return DD_OK;
    }
    if (argv[1][0] == '-')
        return dd_fail(DD_EINVAL, "there is no option %s before the command; there are --help and --version", argv[1]);
    DD_TRY(find_command(&c, argv[1]));
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            dd_help_command(stdout, c);
            return DD_OK;
        }
    }
    return c->run(c, argc - 2, argv + 2);
}

static int exit_status(dd_status s)
{
    switch (s) {
    case DD_OK: return 0;
    case DD_EINVAL: return 2;
    case DD_EFORMAT: return 3;
    case DD_EIO: return 4;
    case DD_ENOMEM: return 5;
    case DD_ENOTFOUND: return 6;
    case DD_EEXIST: return 7;
    case DD_EUNSUPPORTED: return 8;
    case DD_ENUMERIC: return 9;
    case DD_EINTERRUPTED: return 130;
    }
    return 1;
}

/* One line, whatever bytes a file name or a foreign library put into the message. */
static void complain(const char *message)
{
    fputs("attar: ", stderr);
    for (; *message; message++) fputc((unsigned char)*message < 0x20 || *message == 0x7f ? '?' : *message, stderr);
    fputc('\n', stderr);
}

/* Sets what the user has not chosen. A thread that waits for another spins for half a millisecond and sleeps then:
 * spinning for ever, two threads beside two busy programs were ten times slower, and without any, an iteration of many
 * small steps three times slower on a quiet machine. And OpenBLAS is told of a processor that it does not know. */
static bool settle_libraries(void)
{
    static const char *const chosen[] = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"};
    const char *core = dd_backend_blas_core();
    bool waits = false;
    for (size_t i = 0; i < DD_LEN(chosen); i++) waits = waits || getenv(chosen[i]);
    const bool brief = !waits && setenv(chosen[0], "10000", 1) == 0;
    return (core && setenv("OPENBLAS_CORETYPE", core, 1) == 0) || brief;
}

/* Libraries read their settings as they are loaded, so the program starts once more with them. */
static void start_again(char **argv)
{
    char self[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0 || !settle_libraries()) return;
    self[n] = '\0';
    execv(self, argv); /* if it cannot, it is only slower */
}

int main(int argc, char **argv)
{
    start_again(argv);
    signal(SIGXFSZ, SIG_IGN); /* a file that grows past the shell's limit is an error like a full disk */
    dd_status st = run(argc, argv);
    /* fclose reports what a full disk or a closed pipe made of our output. */
    bool lost = ferror(stdout) != 0;
    lost = fclose(stdout) != 0 || lost;
    if (st == DD_OK && lost) st = dd_fail(DD_EIO, "the output could not be written completely");
    if (st != DD_OK) complain(dd_last_error());
    return exit_status(st);
}

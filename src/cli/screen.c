/* SPDX-License-Identifier: Apache-2.0
 *
 * Progress of long commands on stderr, and the signals that end them in good order. */
#include "cli/cli.h"
#include <signal.h>
#include <unistd.h>

/* The one mutable object of the program: a signal handler can reach nothing else. */
static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
    (void)number;
    stop_requested = 1;
}

void dd_cli_catch_signals(void)
{
    struct sigaction a = {0};
    a.sa_handler = on_signal;
    a.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    struct sigaction was;
    if (sigaction(SIGHUP, NULL, &was) == 0 && was.sa_handler != SIG_IGN) sigaction(SIGHUP, &a, NULL); /* not nohup's */
}

bool dd_cli_stop_requested(void)
{
    return stop_requested != 0;
}

dd_cli_screen dd_cli_screen_new(bool quiet)
{
    return (dd_cli_screen){.tty = isatty(STDERR_FILENO) != 0, .quiet = quiet, .last = dd_cli_clock()};
}

bool dd_cli_due(dd_cli_screen *s, bool final)
{
    const double now = dd_cli_clock(), gap = s->tty ? 0.1 : 10;
    if (s->quiet || (now - s->last < gap && !(s->tty && final))) return false;
    s->last = now;
    return true;
}

void dd_cli_print_line(dd_cli_screen *s, const char *text)
{
    fprintf(stderr, "%s%s%s", s->tty ? "\r\033[K" : "", text, s->tty ? "" : "\n");
    s->dirty = s->tty;
    fflush(stderr);
}

void dd_cli_end_line(dd_cli_screen *s)
{
    if (s->dirty) fputc('\n', stderr);
    s->dirty = false;
}

void dd_cli_left(char *buf, size_t size, double seconds)
{
    const long eta = seconds > 0 && seconds < 1e8 ? (long)seconds : 0;
    snprintf(buf, size, "%ld:%02ld:%02ld left", eta / 3600, eta / 60 % 60, eta % 60);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend of a command, tuned from the user's cache. */
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A folder, made if its parent is there. */
static bool folder(const char *path)
{
    struct stat s;
    (void)mkdir(path, 0700);
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

void dd_cli_tune_path(const dd_cli_machine *m, char *path, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char dir[512];
    path[0] = 0;
    if (m->no_tune || strcmp(m->backend, "cpu") != 0) return;
    if (cache && cache[0] == '/' && strlen(cache) < sizeof dir - 16)
        snprintf(dir, sizeof dir, "%s", cache);
    else if (home && home[0] == '/' && strlen(home) < sizeof dir - 16)
        snprintf(dir, sizeof dir, "%s/.cache", home);
    else
        return;
    if (!folder(dir)) return;
    strcat(dir, "/attar");
    if (folder(dir)) snprintf(path, size, "%s/kernels.txt", dir);
}

dd_status dd_cli_backend(dd_backend **out, const dd_cli_machine *m)
{
    char path[600];
    const dd_status s = dd_backend_open(out, m->backend, (int)m->threads);
    dd_cli_tune_path(m, path, sizeof path);
    if (s != DD_OK || !path[0]) return s;
    (void)dd_backend_tune(*out, path); /* a processor without kernels to choose from goes by the rules */
    return DD_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What kernels took when they were measured: a table in memory and a small text file that later processes read. The
 * first line names the build and the processor; each other line is a shape and the seconds of its kernels. */
#include "backend/backend.h"
#include "base/fs.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 1024, FILE_LIMIT = 1 << 20, LINE = 200 };

/* Times of a slower build are not those of this one. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(SANITIZED)
static const char BUILD[] = "sanitized";
#elif defined(__OPTIMIZE__)
static const char BUILD[] = "optimised";
#else
static const char BUILD[] = "plain";
#endif

struct dd_tuning {
    char path[1024], header[512];
    dd_tune_row row[MOST];
    bool lasting[MOST], asked[MOST]; /* asked: by a program of this backend */
    int n;
};

/* "model name" of the first processor; "" where the system does not tell. */
static void processor(char *out, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    out[0] = 0;
    while (f && !out[0] && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (value && strncmp(line, "model name", 10) == 0)
            snprintf(out, size, "%.*s", (int)strcspn(value + 1, "\n"), value + 1);
    }
    if (f) fclose(f);
}

static int place_of(const dd_tuning *t, const char *shape)
{
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->row[i].shape, shape) == 0) return i;
    return -1;
}

bool dd_tuning_find(dd_tuning *t, const char *shape, dd_tune_row *out)
{
    const int i = place_of(t, shape);
    if (i < 0) return false;
    t->asked[i] = true;
    *out = t->row[i];
    return true;
}

bool dd_tuning_full(const dd_tuning *t)
{
    return t->n == MOST;
}

static void keep(dd_tuning *t, const dd_tune_row *row, bool lasting)
{
    if (t->n == MOST || place_of(t, row->shape) >= 0) return;
    t->lasting[t->n] = lasting;
    t->asked[t->n] = false;
    t->row[t->n++] = *row;
}

/* Adds the lines that the table does not have; DD_EFORMAT for a file of another machine or build. */
static dd_status read_file(dd_tuning *t, const char *path)
{
    void *text;
    size_t n;
    DD_TRY(dd_read_file(path, FILE_LIMIT, &text, &n));
    const char *at = text;
    const size_t header = strlen(t->header);
    const bool ours = strncmp(at, t->header, header) == 0 && at[header] == '\n';
    for (at = ours ? strchr(at, '\n') : NULL; at && at[1]; at = strchr(at + 1, '\n')) {
        char line[LINE] = "";
        dd_tune_row r;
        memcpy(line, at + 1, strcspn(at + 1, "\n") < LINE ? strcspn(at + 1, "\n") : LINE - 1);
        if (sscanf(line, "%79[^\t]\t%lf\t%lf", r.shape, &r.ours, &r.theirs) == 3 && r.ours > 0 && r.theirs > 0 &&
            isfinite(r.ours) && isfinite(r.theirs))
            keep(t, &r, true);
    }
    dd_free(text);
    return ours ? DD_OK
                : dd_fail(DD_EFORMAT, "%s holds kernels measured on another processor or by another build", path);
}

static dd_status write_file(const dd_tuning *t, const char *path, bool all)
{
    const size_t size = sizeof t->header + (size_t)t->n * LINE;
    char *text = dd_alloc(size, 1);
    if (!text) return dd_fail(DD_ENOMEM, "out of memory for measured kernels");
    size_t at = (size_t)snprintf(text, size, "%s\n", t->header);
    for (int i = 0; i < t->n; i++)
        if (all || t->lasting[i])
            at += (size_t)snprintf(text + at, size - at, "%s\t%.9g\t%.9g\n", t->row[i].shape, t->row[i].ours,
                                   t->row[i].theirs);
    const dd_status s = dd_write_file(path, text, at);
    dd_free(text);
    return s;
}

void dd_tuning_add(dd_tuning *t, const dd_tune_row *row, bool lasting)
{
    if (t->path[0] && dd_exists(t->path)) (void)read_file(t, t->path); /* what others have found meanwhile stays */
    keep(t, row, lasting);
    if (t->path[0] && lasting) (void)write_file(t, t->path, false); /* or else the next process measures again */
}

dd_status dd_backend_remember(const dd_backend *b, const char *path)
{
    return b->tuning ? write_file(b->tuning, path, true) : DD_OK;
}

dd_status dd_backend_recall(dd_backend *b, const char *path)
{
    if (!b->tuning) return DD_OK;
    dd_tuning known = *b->tuning;
    b->tuning->n = 0;
    b->tuning->path[0] = 0;
    const dd_status s = read_file(b->tuning, path);
    for (int i = 0; s == DD_OK && i < known.n; i++) keep(b->tuning, &known.row[i], known.lasting[i]);
    if (s != DD_OK) *b->tuning = known;
    return s;
}

dd_status dd_backend_tune(dd_backend *b, const char *path)
{
    char cpu[256];
    if (path && !b->tunes) return dd_fail(DD_EUNSUPPORTED, "backend %s has no kernels to choose from", b->name);
    if (path && strlen(path) >= sizeof b->tuning->path)
        return dd_fail(DD_EINVAL, "the path %.40s... is too long", path);
    dd_tuning *t = path ? dd_alloc(1, sizeof *t) : NULL;
    if (path && !t) return dd_fail(DD_ENOMEM, "out of memory for measured kernels");
    dd_free(b->tuning);
    b->tuning = t;
    if (!path) return DD_OK;
    snprintf(t->path, sizeof t->path, "%s", path);
    processor(cpu, sizeof cpu);
    snprintf(t->header, sizeof t->header, "attar-tune-1 %s;%s; %d lanes; %s; %s", dd_build_info(), cpu, b->lanes,
             b->tunes, BUILD);
    if (dd_exists(path)) (void)read_file(t, path); /* of another machine: begun anew */
    if (t->n == MOST) t->n = 0;                    /* so is one that can take no more */
    return DD_OK;
}

int dd_backend_tune_rows(const dd_backend *b, dd_tune_row *rows, int most)
{
    int n = 0;
    for (int i = 0; b->tuning && i < b->tuning->n && n < most; i++)
        if (b->tuning->asked[i]) rows[n++] = b->tuning->row[i];
    return n;
}

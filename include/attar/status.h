/* SPDX-License-Identifier: Apache-2.0
 *
 * Status codes and the last error message. Every fallible call returns a dd_status; the sentence that goes
 * with a failure, with the actual numbers and the way out, is dd_last_error(). */
#ifndef ATTAR_STATUS_H
#define ATTAR_STATUS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

/* 0 or a negative code a caller would act on. The command line maps each to an exit status (see attar(1)). */
typedef enum dd_status {
    DD_OK = 0,
    DD_EINVAL = -1,       /* a bad argument, option or shape: exit status 2 */
    DD_EFORMAT = -2,      /* foreign bytes that are not what they claim: exit status 3 */
    DD_EIO = -3,          /* reading or writing failed, the disk is full: exit status 4 */
    DD_ENOMEM = -4,       /* out of memory: exit status 5 */
    DD_ENOTFOUND = -5,    /* no such file, data set, method or key: exit status 6 */
    DD_EEXIST = -6,       /* the output belongs to another run: exit status 7 */
    DD_EUNSUPPORTED = -7, /* a combination that means nothing or is not built in: exit status 8 */
    DD_ENUMERIC = -8,     /* not a finite number, a singular matrix: exit status 9 */
    DD_EINTERRUPTED = -9  /* stopped by request after a checkpoint: exit status 130 */
} dd_status;

/* The sentence of this thread's last failure; "" before the first. Borrowed until the next failure. */
const char *dd_last_error(void);

/* Records a message (printf style, one sentence, no newline) and returns `code`. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
dd_status
dd_fail(dd_status code, const char *fmt, ...);

/* Short name of a code: "invalid argument", "bad format", ... Never NULL. */
const char *dd_status_name(dd_status s);

/* "0.1.0" */
const char *dd_version(void);
/* Compiler, backends, library versions; one line. */
const char *dd_build_info(void);

/* Returns early on failure. */
#define DD_TRY(call)                                                                                                   \
    do {                                                                                                               \
        dd_status dd_try_ = (call);                                                                                    \
        if (dd_try_ != DD_OK) return dd_try_;                                                                          \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of programs and of what kernels keep: blocks that are touched when they are made, so that runs neither
 * allocate nor fault. Knows base and the operating system. */
#ifndef ATTAR_BASE_WORKSPACE_H
#define ATTAR_BASE_WORKSPACE_H
#include "attar/status.h"

typedef struct dd_workspace {
    void *p; /* 64-byte aligned; NULL if bytes is 0 */
    size_t bytes;
    bool mapped;
} dd_workspace;

size_t dd_workspace_size(size_t bytes);                     /* what one of `bytes` takes */
dd_status dd_workspace_init(dd_workspace *w, size_t bytes); /* DD_ENOMEM */
void dd_workspace_fini(dd_workspace *w);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Large blocks come from the system in huge pages, small ones from the heap. Knows base and the operating system. */
#include "base/workspace.h"

#include "base/memory.h"

#include <stdint.h>
#include <sys/mman.h>

enum { HUGE_BYTES = 2 << 20, PAGE = 4096 };

static size_t whole(size_t bytes)
{
    return (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
}

/* Whole huge pages, from the start of one on: what lies in small ones costs a walk of the page tables every 4 KiB. */
static void *map(size_t bytes)
{
    char *p = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    const size_t before = (HUGE_BYTES - (uintptr_t)p % HUGE_BYTES) % HUGE_BYTES;
    if (before) munmap(p, before);
    p += before;
    munmap(p + bytes, HUGE_BYTES - before);
#ifdef MADV_HUGEPAGE
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* a hint: without it the program is only slower */
#endif
    for (size_t i = 0; i < bytes; i += PAGE) ((volatile char *)p)[i] = 0;
    return p;
}

size_t dd_workspace_size(size_t bytes)
{
    return bytes >= HUGE_BYTES ? whole(bytes) : bytes;
}

dd_status dd_workspace_init(dd_workspace *w, size_t bytes)
{
    *w = (dd_workspace){.bytes = bytes, .mapped = bytes >= HUGE_BYTES};
    if (!bytes) return DD_OK;
    w->p = w->mapped ? map(whole(bytes)) : dd_alloc(bytes, 1);
    if (w->p && w->mapped) dd_memory_count((int64_t)whole(bytes));
    if (w->p) return DD_OK;
    *w = (dd_workspace){0};
    return dd_fail(DD_ENOMEM,
                   "%zu bytes of memory are needed, which the system has not: use a smaller batch or network", bytes);
}

void dd_workspace_fini(dd_workspace *w)
{
    if (w->mapped) {
        munmap(w->p, whole(w->bytes));
        dd_memory_count(-(int64_t)whole(w->bytes));
    } else {
        dd_free(w->p);
    }
    *w = (dd_workspace){0};
}

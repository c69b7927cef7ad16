/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap, arena and growing text behind one door, so that a test can make the n-th allocation fail.
 * Knows the C library only. */
#include "base/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Per thread, so that a sweep in one test thread does not disturb another; 0 is off. */
static _Thread_local long fail_after;

static bool fails_now(void)
{
    return fail_after > 0 && --fail_after == 0;
}

void dd_alloc_fail_after(long n)
{
    fail_after = n;
}

static atomic_llong held, most;

void dd_memory_count(int64_t bytes)
{
    const long long now = atomic_fetch_add(&held, bytes) + bytes;
    long long before = atomic_load(&most);
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now)) continue;
}

int64_t dd_memory_held(void)
{
    return atomic_load(&held);
}

int64_t dd_memory_most(bool restart)
{
    return restart ? atomic_exchange(&most, atomic_load(&held)) : atomic_load(&most);
}

/* Before each block stand its bytes, so that they are taken off the count when it goes. */
enum { BEFORE = 64 };

static void *counted(void *base, size_t bytes, size_t was)
{
    *(size_t *)base = bytes;
    dd_memory_count((int64_t)bytes - (int64_t)was);
    return (char *)base + BEFORE;
}

static void *base_of(void *p)
{
    return p ? (char *)p - BEFORE : NULL;
}

void *dd_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - 2 * BEFORE || fails_now()) return NULL;
    bytes = (bytes + BEFORE - 1) / BEFORE * BEFORE + BEFORE;
    void *p = aligned_alloc(BEFORE, bytes);
    if (!p) return NULL;
    memset(p, 0, bytes);
    return counted(p, bytes, 0);
}

void dd_free(void *p)
{
    void *base = base_of(p);
    const size_t bytes = base ? *(const size_t *)base : 0;
    dd_memory_count(-(int64_t)bytes);
    free(base);
}

dd_status dd_grow(void **p, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return DD_OK;
    size_t want = *cap ? *cap : 16, bytes;
    while (want < need) {
        if (want > SIZE_MAX / 2) return dd_fail(DD_ENOMEM, "an array of %zu elements is too large", need);
        want *= 2;
    }
    if (__builtin_mul_overflow(want, size, &bytes) || bytes > SIZE_MAX - BEFORE || fails_now())
        return dd_fail(DD_ENOMEM, "out of memory for %zu elements of %zu bytes", want, size);
    void *old = base_of(*p);
    const size_t was = old ? *(size_t *)old : 0;
    void *q = realloc(old, bytes + BEFORE);
    if (!q) return dd_fail(DD_ENOMEM, "out of memory for %zu bytes", bytes);
    *p = counted(q, bytes + BEFORE, was);
    *cap = want;
    return DD_OK;
}

void dd_shrink(void **p, size_t bytes)
{
    void *old = base_of(*p);
    const size_t was = old ? *(size_t *)old : 0;
    void *q = old && bytes + BEFORE < was ? realloc(old, bytes + BEFORE) : NULL;
    if (q) *p = counted(q, bytes + BEFORE, was);
}

char *dd_strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *p = dd_alloc(n, 1);
    if (p) memcpy(p, s, n);
    return p;
}

typedef struct block {
    struct block *next;
    size_t used, size;
} block;

struct dd_arena {
    block *head;
};

enum { BLOCK = 64 * 1024, HEADER = 64 };

dd_arena *dd_arena_new(void)
{
    return dd_alloc(1, sizeof(dd_arena));
}

void dd_arena_free(dd_arena *a)
{
    if (!a) return;
    for (block *b = a->head, *next; b; b = next) {
        next = b->next;
        dd_free(b);
    }
    dd_free(a);
}

void *dd_arena_alloc(dd_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX - 2 * BLOCK) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (!a->head || a->head->size - a->head->used < bytes) {
        const size_t size = bytes > BLOCK - HEADER ? bytes : BLOCK - HEADER;
        block *b = dd_alloc(1, size + HEADER);
        if (!b) return NULL;
        *b = (block){a->head, 0, size};
        a->head = b;
    }
    char *p = (char *)a->head + HEADER + a->head->used;
    a->head->used += bytes;
    return p;
}

char *dd_arena_strdup(dd_arena *a, const char *s)
{
    const size_t n = strlen(s) + 1;
    char *p = dd_arena_alloc(a, n);
    if (p) memcpy(p, s, n);
    return p;
}

static bool room(dd_str *s, size_t more)
{
    if (!s->failed && dd_grow((void **)&s->p, &s->cap, s->len + more + 1, 1) != DD_OK) s->failed = true;
    return !s->failed;
}

void dd_str_add(dd_str *s, const char *text)
{
    const size_t n = strlen(text);
    if (!room(s, n)) return;
    memcpy(s->p + s->len, text, n + 1);
    s->len += n;
}

void dd_str_addf(dd_str *s, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) s->failed = true;
    if (n >= 0 && room(s, (size_t)n)) {
        vsnprintf(s->p + s->len, (size_t)n + 1, fmt, again);
        s->len += (size_t)n;
    }
    va_end(again);
}

void dd_str_quote(dd_str *s, const char *text)
{
    dd_str_add(s, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            dd_str_addf(s, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            dd_str_addf(s, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            dd_str_addf(s, "%c", *text);
    }
    dd_str_add(s, "\"");
}

void dd_str_free(dd_str *s)
{
    dd_free(s->p);
    *s = (dd_str){0};
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The one door to the heap, so that tests can make the n-th allocation fail. Knows the C library only. */
#ifndef ATTAR_BASE_MEMORY_H
#define ATTAR_BASE_MEMORY_H
#include "attar/status.h"

/* 64-byte aligned, zeroed; NULL when out of memory or bytes overflows. Free with dd_free. */
void *dd_alloc(size_t count, size_t size);
void dd_free(void *p);
/* Grows *p (NULL at first, elements of `size`, not zeroed) so that it holds at least `need`; DD_ENOMEM leaves *p valid.
 * Free with dd_free. */
dd_status dd_grow(void **p, size_t *cap, size_t need, size_t size);
/* Gives back what *p (of dd_grow) has beyond so many bytes; *p may move. */
void dd_shrink(void **p, size_t bytes);
char *dd_strdup(const char *s); /* dd_free */
/* Test hook: the n-th allocation from now fails (n >= 1); 0 turns it off. */
void dd_alloc_fail_after(long n);

/* Bytes that the library holds in the process, this heap and what is added here: mapped workspaces, and what somebody
 * will need later. A function of what was asked for, unlike resident memory, so that decisions by it repeat. */
void dd_memory_count(int64_t bytes);
int64_t dd_memory_held(void);
/* Code, and libraries with what they allocate, beside that; DM on Fashion-MNIST has 20 MiB of it. */
#define DD_MEMORY_REST ((int64_t)32 << 20)
/* The most it held since the last call with `restart`. */
int64_t dd_memory_most(bool restart);

/* Bump arena: many small objects, one release. */
typedef struct dd_arena dd_arena;
dd_arena *dd_arena_new(void);
void dd_arena_free(dd_arena *a);
void *dd_arena_alloc(dd_arena *a, size_t bytes); /* 16-byte aligned, zeroed; NULL: out of memory */
char *dd_arena_strdup(dd_arena *a, const char *s);

/* Growing text. Failure is sticky: check s.failed once at the end. */
typedef struct dd_str {
    char *p;
    size_t len, cap;
    bool failed;
} dd_str;
void dd_str_add(dd_str *s, const char *text);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void dd_str_addf(dd_str *s, const char *fmt, ...);
void dd_str_quote(dd_str *s, const char *text); /* as a JSON string; text is UTF-8 */
void dd_str_free(dd_str *s);
#endif

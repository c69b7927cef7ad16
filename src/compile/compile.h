/* SPDX-License-Identifier: Apache-2.0
 *
 * What the compiler hands to exec: instructions whose operands are places in numbered slots, and where each slot lies.
 * Pointers appear only in exec. Knows graph, backend.h, tensor and base. */
#ifndef ATTAR_COMPILE_COMPILE_H
#define ATTAR_COMPILE_COMPILE_H
#include "backend/backend.h"
#include "base/memory.h"
#include "graph/node.h"

typedef enum dd_slot_kind {
    DD_SLOT_ARENA, /* planned memory, reused within a run */
    DD_SLOT_CONST, /* written once after compilation */
    DD_SLOT_BLOCK, /* no memory: lives in a buffer of a row group */
    DD_SLOT_INPUT, /* bound by the caller, only read */
    DD_SLOT_OUTPUT /* bound by the caller */
} dd_slot_kind;

typedef struct dd_slot {
    dd_slot_kind kind;
    size_t bytes;
    size_t offset; /* ARENA, CONST: bytes from the start of the area, 64-byte aligned */
    int binding;   /* INPUT, OUTPUT: index into binding[] */
} dd_slot;

/* An operand's first element: slot and offset in elements of the operand's dtype. */
typedef struct dd_place {
    int slot;
    int64_t offset;
} dd_place;

typedef struct dd_command {
    dd_instr in;
    dd_place out, src[DD_INSTR_SRC];
    size_t group; /* member of a row group: 1 + index of its ROWS; 0: none */
} dd_command;

typedef struct dd_binding {
    const char *name;
    dd_dtype dtype;
    dd_shape shape;
    bool output;
    bool carried; /* graph/carry.h */
    bool blocked; /* carried, and lies in blocks */
    int slot;     /* -1: an input that no instruction reads */
} dd_binding;

typedef struct dd_compiled {
    dd_command *step; /* [nstep] of every run */
    size_t nstep, step_cap;
    dd_command *once; /* [nonce] run once, they write CONST slots only */
    size_t nonce, once_cap;
    dd_slot *slot;
    size_t nslot, slot_cap;
    dd_binding *binding;
    size_t nbinding, binding_cap;
    size_t arena, consts;   /* bytes of the two areas */
    dd_program_stats stats; /* arena: without the backend's scratch */
    dd_arena *names;
} dd_compiled;

/* What to leave out, for tests that compare; DD_PLAIN_CARRY for programs that would have carried values lie otherwise.
 */
enum {
    DD_NO_SIMPLIFY = 1,
    DD_NO_PATTERNS = 2,
    DD_NO_REUSE = 4,
    DD_NO_FUSE = 8,
    DD_NO_LAYOUT = 16,
    DD_PLAIN_CARRY = 32 /* carried values lie as any that is bound */
};

/* The slot is a carried value: written once, by nobody through another name. */
static inline bool dd_slot_carried(const dd_compiled *c, int slot)
{
    const dd_slot *s = &c->slot[slot];
    return (s->kind == DD_SLOT_INPUT || s->kind == DD_SLOT_OUTPUT) && c->binding[s->binding].carried;
}

/* Fills *c, to be released with dd_compiled_free in any case; b says what its kernels can take. The graph's first
 * error, DD_EINVAL, DD_ENOMEM. */
dd_status dd_compile_graph(dd_compiled *c, const dd_graph *g, dd_backend *b, unsigned leave_out);
void dd_compiled_free(dd_compiled *c);
#endif

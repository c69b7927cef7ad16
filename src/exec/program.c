/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs: the compiled instructions with memory, kernels and bound tensors. Binding marks the pointers stale; the
 * next run resolves them once, and then a run is a loop over launches. What a run leaves in its arena nobody reads
 * after it, so all programs of a backend share one, as large as the largest needs. Knows compile, backend.h, tensor,
 * base. */
#include "exec/program_internal.h"

#include "base/memory.h"
#include "compile/compile.h"
#include "exec/draft.h"
#include "base/workspace.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of a backend: what its programs need while they run. */
typedef struct shared {
    dd_workspace arena, scratch;
    unsigned version; /* of their addresses */
} shared;

struct dd_program {
    dd_compiled c;
    dd_backend *backend;
    shared *shared;
    unsigned version; /* of the addresses that instructions hold */
    dd_workspace consts;
    size_t scratch;
    dd_instr **member;   /* members of all row groups, in the order of steps */
    void **bound;        /* [nbinding] data of the tensor, NULL: none */
    size_t nonce, nstep; /* prepared instructions */
    bool stale;
};

/* ---- pointers ---- */

static char *base_of(const dd_program *p, int slot)
{
    const dd_slot *s = &p->c.slot[slot];
    switch (s->kind) {
    case DD_SLOT_ARENA: return (char *)p->shared->arena.p + s->offset;
    case DD_SLOT_CONST: return (char *)p->consts.p + s->offset;
    case DD_SLOT_BLOCK: return NULL;
    default: return p->bound[s->binding];
    }
}

static char *address(const dd_program *p, dd_place at, dd_dtype t)
{
    char *base = base_of(p, at.slot);
    return base ? base + at.offset * (int64_t)dd_dtype_size(t) : NULL;
}

static void resolve(dd_program *p, dd_command *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dd_command *k = &list[i];
        k->in.out = address(p, k->out, k->in.dst.dtype);
        for (int j = 0; j < k->in.nsrc; j++) k->in.in[j] = address(p, k->src[j], k->in.src[j].dtype);
    }
}

/* Steps from `k` to the next that is launched on its own: a row group launches its members. */
static size_t stride_of(const dd_command *k)
{
    return 1 + (k->in.kind == DD_K_ROWS ? (size_t)k->in.attr[2] : 0);
}

static dd_status launch(dd_program *p, dd_command *list, size_t n)
{
    for (size_t i = 0; i < n; i += stride_of(&list[i]))
        DD_TRY(dd_backend_launch(p->backend, &list[i].in, p->shared->scratch.p));
    return DD_OK;
}

/* ---- shared memory ---- */

static void free_shared(void *self)
{
    shared *s = self;
    dd_workspace_fini(&s->arena);
    dd_workspace_fini(&s->scratch);
    dd_free(s);
}

static dd_status open_shared(dd_program *p)
{
    if (!p->backend->shared) {
        p->backend->shared = dd_alloc(1, sizeof(shared));
        p->backend->shared_free = free_shared;
    }
    p->shared = p->backend->shared;
    return p->shared ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for a program");
}

static dd_status grow(shared *s, dd_workspace *w, size_t bytes)
{
    if (w->bytes >= bytes) return DD_OK;
    dd_workspace_fini(w); /* before, so that both never exist at once */
    s->version++;
    return dd_workspace_init(w, bytes);
}

static dd_status make_room(dd_program *p)
{
    DD_TRY(grow(p->shared, &p->shared->arena, p->c.arena));
    return grow(p->shared, &p->shared->scratch, p->scratch);
}

static size_t growth(const dd_workspace *w, size_t bytes)
{
    return bytes > w->bytes ? dd_workspace_size(bytes) - dd_workspace_size(w->bytes) : 0;
}

/* Kernels have what they keep; refuses before the program's own memory is touched. */
static dd_status within_limit(const dd_program *p)
{
    const double mib = 1 << 20, limit = (double)p->backend->limit / mib,
                 held = (double)(dd_memory_held() + DD_MEMORY_REST) / mib,
                 more = (double)(growth(&p->shared->arena, p->c.arena) + growth(&p->shared->scratch, p->scratch) +
                                 dd_workspace_size(p->c.consts)) /
                        mib;
    if (!p->backend->limit || held + more <= limit) return DD_OK;
    return dd_fail(
        DD_ENOMEM,
        "a program needs %.1f MiB beside %.1f that are taken or set aside (%.0f of them for code and libraries), "
        "and the memory limit is %.1f MiB: for this one give %.0fM at least",
        more, held, (double)DD_MEMORY_REST / mib, limit, ceil(held + more));
}

/* ---- making ---- */

static dd_status prepare(dd_program *p, dd_command *list, size_t n, size_t *done, size_t *scratch)
{
    for (; *done < n; *done += stride_of(&list[*done])) {
        dd_instr *in = &list[*done].in;
        DD_TRY(p->backend->prepare(p->backend, in));
        if (in->scratch > *scratch) *scratch = in->scratch;
    }
    return DD_OK;
}

/* Members stand behind their ROWS, so one array serves all groups. */
static dd_status list_members(dd_program *p)
{
    size_t n = 0;
    p->member = dd_alloc(p->c.nstep + 1, sizeof(dd_instr *));
    if (!p->member) return dd_fail(DD_ENOMEM, "out of memory for a program");
    for (size_t i = 0; i < p->c.nstep; i++) {
        dd_command *k = &p->c.step[i];
        if (k->in.kind == DD_K_ROWS) k->in.member = p->member + n;
        if (k->group) p->member[n++] = &k->in;
    }
    return DD_OK;
}

static dd_status make(dd_program *p, const dd_graph *g, unsigned leave_out)
{
    DD_TRY(open_shared(p));
    DD_TRY(dd_compile_graph(&p->c, g, p->backend, leave_out));
    p->bound = dd_alloc(p->c.nbinding + 1, sizeof *p->bound);
    if (!p->bound) return dd_fail(DD_ENOMEM, "out of memory for a program");
    DD_TRY(list_members(p));
    DD_TRY(prepare(p, p->c.once, p->c.nonce, &p->nonce, &p->scratch));
    DD_TRY(prepare(p, p->c.step, p->c.nstep, &p->nstep, &p->scratch));
    DD_TRY(within_limit(p));
    DD_TRY(make_room(p));
    DD_TRY(dd_workspace_init(&p->consts, p->c.consts));
    p->c.stats.arena += (int64_t)(p->c.consts + p->scratch);
    p->stale = true;
    resolve(p, p->c.once, p->c.nonce);
    return launch(p, p->c.once, p->c.nonce);
}

dd_status dd_compile_with(dd_program **out, const dd_graph *g, dd_backend *b, unsigned leave_out)
{
    *out = NULL;
    dd_program *p = dd_alloc(1, sizeof *p);
    if (!p) return dd_fail(DD_ENOMEM, "out of memory for a program");
    p->backend = b;
    const dd_status status = make(p, g, leave_out);
    if (status == DD_OK)
        *out = p;
    else
        dd_program_free(p);
    return status;
}

dd_status dd_compile(dd_program **out, const dd_graph *g, dd_backend *b)
{
    return dd_compile_with(out, g, b, 0);
}

dd_status dd_draft(dd_graph **g)
{
    *g = dd_graph_new();
    return *g ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for a graph");
}

dd_status dd_compile_draft(dd_program **out, dd_graph *g, dd_backend *b)
{
    const dd_status s = dd_compile(out, g, b);
    dd_graph_free(g);
    return s;
}

static bool agree(const dd_program *p, const dd_program *q)
{
    for (size_t i = 0; i < p->c.nbinding; i++) {
        const dd_binding *a = &p->c.binding[i];
        for (size_t j = 0; a->carried && j < q->c.nbinding; j++) {
            const dd_binding *b = &q->c.binding[j];
            if (b->carried && strcmp(a->name, b->name) == 0 && a->blocked != b->blocked) return false;
        }
    }
    return true;
}

dd_status dd_compile_pair(dd_program **first, dd_program **second, const dd_graph *g, const dd_graph *h, dd_backend *b)
{
    *first = *second = NULL;
    for (unsigned leave_out = 0;; leave_out = DD_PLAIN_CARRY) {
        dd_status s = dd_compile_with(first, g, b, leave_out);
        if (s == DD_OK) s = dd_compile_with(second, h, b, leave_out);
        if (s == DD_OK && agree(*first, *second)) return s;
        dd_program_free(*first);
        dd_program_free(*second);
        *first = *second = NULL;
        if (s != DD_OK) return s;
    }
}

void dd_program_free(dd_program *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->nonce; i++) p->backend->release(p->backend, &p->c.once[i].in);
    for (size_t i = 0; i < p->nstep; i++) p->backend->release(p->backend, &p->c.step[i].in);
    dd_workspace_fini(&p->consts);
    dd_free(p->member);
    dd_free(p->bound);
    dd_compiled_free(&p->c);
    dd_free(p);
}

/* ---- binding ---- */

static dd_status check_bind(const dd_binding *b, const dd_tensor *t)
{
    char want[128], has[128];
    const char *role = b->output ? "output" : "input";
    if (t->dtype == b->dtype && t->data && dd_shape_count(t->shape) == dd_shape_count(b->shape)) return DD_OK;
    dd_shape_text(b->shape, want, sizeof want);
    if (!t->data)
        return dd_fail(DD_EINVAL, "%s \"%s\" needs %s %s, the tensor has no data", role, b->name,
                       dd_dtype_name(b->dtype), want);
    return dd_fail(DD_EINVAL, "%s \"%s\" is %s %s (%lld elements), the tensor is %s %s (%lld elements)", role, b->name,
                   dd_dtype_name(b->dtype), want, (long long)dd_shape_count(b->shape), dd_dtype_name(t->dtype),
                   dd_shape_text(t->shape, has, sizeof has), (long long)dd_shape_count(t->shape));
}

/* Every name the program has, for the message about one that it has not. */
static dd_status unknown_name(const dd_program *p, const char *name)
{
    char list[256] = "";
    size_t at = 0;
    for (size_t i = 0; i < p->c.nbinding && at + 1 < sizeof list; i++) {
        const int n = snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", p->c.binding[i].name);
        if (n > 0) at += (size_t)n;
    }
    return dd_fail(DD_ENOTFOUND, "the program has no input or output \"%s\": it has %s", name, list);
}

dd_status dd_bind(dd_program *p, const char *name, const dd_tensor *t)
{
    bool found = false;
    for (size_t i = 0; i < p->c.nbinding; i++) {
        const dd_binding *b = &p->c.binding[i];
        if (strcmp(b->name, name) != 0) continue;
        DD_TRY(check_bind(b, t));
        found = true;
        if (p->bound[i] == t->data) continue;
        p->bound[i] = t->data;
        p->stale = true;
    }
    return found ? DD_OK : unknown_name(p, name);
}

/* ---- running ---- */

static dd_status check_bound(const dd_program *p)
{
    for (size_t i = 0; i < p->c.nbinding; i++) {
        const dd_binding *b = &p->c.binding[i];
        char want[128];
        if (p->bound[i] || b->slot < 0) continue;
        return dd_fail(DD_EINVAL, "nothing is bound to %s \"%s\", which needs %s %s: call dd_bind before dd_exec",
                       b->output ? "output" : "input", b->name, dd_dtype_name(b->dtype),
                       dd_shape_text(b->shape, want, sizeof want));
    }
    return DD_OK;
}

dd_status dd_exec(dd_program *p)
{
    if (p->stale || p->version != p->shared->version) {
        DD_TRY(check_bound(p));
        DD_TRY(make_room(p));
        resolve(p, p->c.step, p->c.nstep);
        p->stale = false;
        p->version = p->shared->version;
    }
    return launch(p, p->c.step, p->c.nstep);
}

dd_exec_room dd_exec_room_of(const dd_backend *b)
{
    const shared *s = b->shared;
    return s ? (dd_exec_room){s->arena.bytes, s->scratch.bytes} : (dd_exec_room){0};
}

static dd_status shrink(shared *s, dd_workspace *w, size_t bytes)
{
    if (w->bytes <= bytes) return DD_OK;
    dd_workspace_fini(w);
    return grow(s, w, bytes);
}

dd_status dd_exec_shrink(dd_backend *b, dd_exec_room to)
{
    shared *s = b->shared;
    if (!s) return DD_OK;
    s->version++;
    DD_TRY(shrink(s, &s->arena, to.arena));
    return shrink(s, &s->scratch, to.scratch);
}

dd_program_stats dd_program_statistics(const dd_program *p)
{
    return p->c.stats;
}

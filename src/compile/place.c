/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing results where they are wanted: when an instruction only copies a whole slot into another (a piece of a
 * CONCAT, an output), the slot's writers write the target themselves and the copy is dropped. This is how a flat
 * gradient costs no copies. Knows the instruction format and base. */
#include "compile/passes.h"

static size_t view_bytes(const dd_view *v)
{
    return (size_t)dd_view_count(v) * dd_dtype_size(v->dtype);
}

static bool covers(const dd_compiled *c, dd_place p, const dd_view *v)
{
    return p.offset == 0 && view_bytes(v) == c->slot[p.slot].bytes && dd_view_contiguous(v);
}

/* The first instruction that writes into `slot`; -1: none. */
static long first_write(const dd_compiled *c, int slot)
{
    for (size_t i = 0; i < c->nstep; i++)
        if (c->step[i].out.slot == slot) return (long)i;
    return -1;
}

static bool reads(const dd_command *k, int slot)
{
    for (int i = 0; i < k->in.nsrc; i++)
        if (k->src[i].slot == slot) return true;
    return false;
}

static bool reads_input_like(const dd_compiled *c, const dd_command *k, size_t bytes)
{
    for (int i = 0; i < k->in.nsrc; i++) {
        const dd_slot *s = &c->slot[k->src[i].slot];
        if (s->kind == DD_SLOT_INPUT && s->bytes == bytes) return true;
    }
    return false;
}

/* Element by element, so that an input bound to the target's tensor is read before the same element is written. */
static bool in_step(const dd_compiled *c, const dd_command *k, size_t bytes)
{
    if (k->in.kind != DD_K_POINTWISE || !covers(c, k->out, &k->in.dst)) return false;
    for (int i = 0; i < k->in.nsrc; i++) {
        const dd_slot *s = &c->slot[k->src[i].slot];
        if (s->kind != DD_SLOT_INPUT || s->bytes != bytes) continue;
        if (k->src[i].offset != 0 || !dd_view_same(&k->in.src[i], &k->in.dst)) return false;
    }
    return true;
}

/* May `from`'s writers write output slot `to`, whose tensor may also be an input's? Only inputs of equal size count:
 * a tensor bound twice has one size. */
static bool early_enough(const dd_compiled *c, int from, int to)
{
    const size_t bytes = c->slot[to].bytes;
    const long first = first_write(c, from);
    if (first < 0) return false;
    if (dd_slot_carried(c, to)) return true; /* no input's tensor */
    for (size_t i = (size_t)first; i < c->nstep; i++) {
        if (!reads_input_like(c, &c->step[i], bytes)) continue;
        if ((long)i != first || !in_step(c, &c->step[i], bytes)) return false;
    }
    return true;
}

/* A PAD's target is filled first, by an instruction that would come too late. */
static bool has_fill(const dd_compiled *c, int slot)
{
    for (size_t i = 0; i < c->nstep; i++) {
        const dd_command *k = &c->step[i];
        if (k->out.slot == slot && k->in.kind == DD_K_FILL && covers(c, k->out, &k->in.dst)) return true;
    }
    return false;
}

static bool sinkable(const dd_compiled *c, const dd_command *k)
{
    const int from = k->src[0].slot, to = k->out.slot;
    if (k->in.kind != DD_K_COPY || c->slot[from].kind != DD_SLOT_ARENA || from == to) return false;
    if (k->in.dst.dtype != k->in.src[0].dtype) return false;
    if (!covers(c, k->src[0], &k->in.src[0]) || !dd_view_contiguous(&k->in.dst)) return false;
    if (c->slot[to].kind == DD_SLOT_OUTPUT) return early_enough(c, from, to);
    return c->slot[to].kind == DD_SLOT_ARENA && !has_fill(c, to);
}

/* Slots have one dtype, so element offsets add up. */
static void move(dd_place *p, int from, dd_place to)
{
    if (p->slot != from) return;
    p->slot = to.slot;
    p->offset += to.offset;
}

static void sink(dd_compiled *c, const dd_command *k)
{
    const int from = k->src[0].slot;
    const dd_place to = k->out;
    for (size_t i = 0; i < c->nstep; i++) {
        move(&c->step[i].out, from, to);
        for (int j = 0; j < c->step[i].in.nsrc; j++) move(&c->step[i].src[j], from, to);
    }
    c->slot[from].bytes = 0;
}

static void drop(dd_compiled *c, size_t at)
{
    c->nstep--;
    for (size_t i = at; i < c->nstep; i++) c->step[i] = c->step[i + 1];
}

dd_status dd_sink_copies(dd_compiled *c)
{
    for (size_t i = 0; i < c->nstep;) {
        const dd_command k = c->step[i];
        if (!sinkable(c, &k) || reads(&k, k.out.slot)) {
            i++;
            continue;
        }
        sink(c, &k);
        drop(c, i);
    }
    return DD_OK;
}

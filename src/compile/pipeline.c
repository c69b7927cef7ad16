/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of the passes, the names a program can bind, and the numbers it reports. Knows graph, backend.h, base. */
#include "compile/passes.h"

static dd_status add_binding(dd_compiled *c, const char *name, const dd_node *n, bool output, bool carried)
{
    const char *kept = dd_arena_strdup(c->names, name);
    if (!kept || dd_grow((void **)&c->binding, &c->binding_cap, c->nbinding + 1, sizeof *c->binding) != DD_OK)
        return dd_fail(DD_ENOMEM, "out of memory for the name \"%s\"", name);
    c->binding[c->nbinding++] = (dd_binding){
        .name = kept, .dtype = n->dtype, .shape = n->shape, .output = output, .carried = carried, .slot = -1};
    return DD_OK;
}

/* Every input of the graph, needed or not, and every output. */
static dd_status list_bindings(dd_compiled *c, const dd_graph *g)
{
    for (uint32_t id = 1; id < dd_graph_size(g); id++) {
        const dd_node *n = dd_graph_node(g, id);
        if (n->op == DD_OP_INPUT) DD_TRY(add_binding(c, n->name, n, false, n->nattr > 0));
    }
    for (int i = 0; i < dd_graph_outputs(g); i++) {
        const dd_named *o = dd_graph_output(g, i);
        DD_TRY(add_binding(c, o->name, dd_graph_node(g, o->id), true, o->carried));
    }
    return DD_OK;
}

static dd_status to_instructions(dd_compiled *c, const dd_graph *g, dd_backend *b, unsigned leave_out)
{
    DD_TRY(dd_lower(c, g, leave_out));
    if (!(leave_out & DD_NO_REUSE)) DD_TRY(dd_sink_copies(c));
    dd_mark_windows(c);
    if (b->rows && !(leave_out & DD_NO_FUSE)) {
        DD_TRY(dd_fuse_rows(c));
        DD_TRY(dd_fuse_first(c, b));
        if (!(leave_out & DD_NO_LAYOUT)) DD_TRY(dd_choose_layout(c, b, !(leave_out & DD_PLAIN_CARRY)));
    }
    DD_TRY(dd_plan(c, !(leave_out & DD_NO_REUSE)));
    c->stats.instrs = (int64_t)c->nstep;
    for (size_t i = 0; i < c->nstep; i++) c->stats.groups += c->step[i].in.kind == DD_K_ROWS;
    c->stats.arena = (int64_t)c->arena;
    for (size_t i = 0; i < c->nstep; i++) /* members stand in the list themselves */
        if (c->step[i].in.kind != DD_K_ROWS) c->stats.flop += dd_instr_flop(&c->step[i].in);
    return DD_OK;
}

dd_status dd_compile_graph(dd_compiled *c, const dd_graph *g, dd_backend *b, unsigned leave_out)
{
    dd_graph *own = NULL;
    *c = (dd_compiled){0};
    DD_TRY(dd_graph_status(g));
    if (dd_graph_outputs(g) == 0)
        return dd_fail(DD_EINVAL, "the graph has %u nodes but no output: name one with dd_output",
                       dd_graph_size(g) - 1);
    c->names = dd_arena_new();
    if (!c->names) return dd_fail(DD_ENOMEM, "out of memory for a program");
    DD_TRY(list_bindings(c, g));
    DD_TRY(dd_rebuild(g, &own, dd_rewrite_none, NULL));
    dd_status status = DD_OK;
    if (!(leave_out & DD_NO_SIMPLIFY)) status = dd_simplify(&own);
    if (status == DD_OK && !(leave_out & DD_NO_PATTERNS)) status = dd_join_pads(&own);
    if (status == DD_OK) status = to_instructions(c, own, b, leave_out);
    dd_graph_free(own);
    return status;
}

void dd_compiled_free(dd_compiled *c)
{
    dd_free(c->step);
    dd_free(c->once);
    dd_free(c->slot);
    dd_free(c->binding);
    dd_arena_free(c->names);
    *c = (dd_compiled){0};
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes to instructions. RESHAPE, PERMUTE, EXPAND, SLICE, FLIP and STOP are never instructions but strided views of
 * their source's slot; a kernel that demands contiguous operands gets a copy, made once per node. What depends on
 * constants only is computed once, after compilation. Knows graph, backend.h and base. */
#include "compile/passes.h"

#include <string.h>

typedef struct value {
    int slot; /* -1: not computed */
    int64_t offset;
    dd_view view;
} value;

/* A constant or a ramp 0..extent-1 that already has a slot. */
typedef struct splat {
    dd_dtype dtype;
    double c;
    int64_t extent; /* 0: the constant c */
    int slot;
} splat;

typedef struct lowering {
    dd_compiled *c;
    const dd_graph *g;
    unsigned leave_out;
    value *val, *packed; /* [size] */
    int *factor;         /* [size] slot of the Cholesky factor of a node, -1: none */
    bool *live, *is_output;
    uint32_t *readers;
    dd_fusion *fusion;
    splat *splat;
    size_t nsplat, splat_cap;
} lowering;

enum {
    SPLIT_ROW = 16,
    ONCE_LIMIT = 1 << 20
}; /* elements; larger constants are recomputed, planned memory is dearer than time */

static const struct {
    dd_op op;
    dd_ew ew;
} ew_table[] = {{DD_OP_NEG, DD_EW_NEG},
                {DD_OP_SQRT, DD_EW_SQRT},
                {DD_OP_EXP, DD_EW_EXP},
                {DD_OP_LOG, DD_EW_LOG},
                {DD_OP_SIN, DD_EW_SIN},
                {DD_OP_COS, DD_EW_COS},
                {DD_OP_TANH, DD_EW_TANH},
                {DD_OP_ERF, DD_EW_ERF},
                {DD_OP_KAPPA1, DD_EW_KAPPA1},
                {DD_OP_KAPPA0, DD_EW_KAPPA0},
                {DD_OP_KAPPA_SLOPE, DD_EW_KAPPA_SLOPE},
                {DD_OP_FLOOR, DD_EW_FLOOR},
                {DD_OP_STEP, DD_EW_STEP},
                {DD_OP_ADD, DD_EW_ADD},
                {DD_OP_SUB, DD_EW_SUB},
                {DD_OP_MUL, DD_EW_MUL},
                {DD_OP_DIV, DD_EW_DIV},
                {DD_OP_MAX, DD_EW_MAX},
                {DD_OP_LT, DD_EW_LT},
                {DD_OP_EQ, DD_EW_EQ},
                {DD_OP_SELECT, DD_EW_SELECT}};

static dd_ew ew_of(dd_op op)
{
    for (size_t i = 0; i < DD_LEN(ew_table); i++)
        if (ew_table[i].op == op) return ew_table[i].ew;
    return DD_EW_COUNT;
}

static dd_status no_memory(const lowering *l)
{
    return dd_fail(DD_ENOMEM, "out of memory while compiling %u graph nodes", dd_graph_size(l->g));
}

/* ---- slots and commands ---- */

static dd_status new_slot(lowering *l, dd_slot_kind kind, dd_dtype t, int64_t count, int *out)
{
    dd_compiled *c = l->c;
    const size_t bytes = (size_t)count * dd_dtype_size(t); /* at most 2^40 elements by dd_shape_check */
    if (dd_grow((void **)&c->slot, &c->slot_cap, c->nslot + 1, sizeof *c->slot) != DD_OK) return no_memory(l);
    c->slot[c->nslot] = (dd_slot){.kind = kind, .bytes = bytes, .binding = -1};
    *out = (int)c->nslot++;
    return DD_OK;
}

static dd_status new_value(lowering *l, bool once, dd_dtype t, dd_shape s, value *out)
{
    *out = (value){.view = dd_view_whole(t, s)};
    return new_slot(l, once ? DD_SLOT_CONST : DD_SLOT_ARENA, t, dd_shape_count(s), &out->slot);
}

static bool is_fixed(const lowering *l, const value *v)
{
    return l->c->slot[v->slot].kind == DD_SLOT_CONST;
}

static dd_command command(dd_kind kind, const value *dst, int nsrc, const value *const src[])
{
    dd_command k;
    memset(&k, 0, sizeof k);
    k.in.kind = kind;
    k.in.nsrc = nsrc;
    k.in.dst = dst->view;
    k.out = (dd_place){dst->slot, dst->offset};
    for (int i = 0; i < nsrc; i++) {
        k.in.src[i] = src[i]->view;
        k.src[i] = (dd_place){src[i]->slot, src[i]->offset};
    }
    return k;
}

/* To the list its target belongs to. */
static dd_status emit(lowering *l, const dd_command *k)
{
    dd_compiled *c = l->c;
    const bool once = c->slot[k->out.slot].kind == DD_SLOT_CONST;
    dd_command **list = once ? &c->once : &c->step;
    size_t *n = once ? &c->nonce : &c->nstep, *cap = once ? &c->once_cap : &c->step_cap;
    if (dd_grow((void **)list, cap, *n + 1, sizeof **list) != DD_OK) return no_memory(l);
    (*list)[(*n)++] = *k;
    return DD_OK;
}

static void collapse(dd_command *k)
{
    dd_view *v[1 + DD_INSTR_SRC] = {&k->in.dst};
    for (int i = 0; i < k->in.nsrc; i++) v[i + 1] = &k->in.src[i];
    dd_views_collapse(1 + k->in.nsrc, v, 0);
}

static dd_status emit_copy(lowering *l, const value *src, const value *dst)
{
    dd_command k = command(DD_K_COPY, dst, 1, &src);
    collapse(&k);
    return emit(l, &k);
}

static dd_status emit_fill(lowering *l, const value *dst, double c)
{
    dd_command k = command(DD_K_FILL, dst, 0, NULL);
    k.in.c = c;
    collapse(&k);
    return emit(l, &k);
}

/* ---- values ---- */

static dd_status copy_of(lowering *l, const value *v, value *out)
{
    const bool once = is_fixed(l, v) && dd_view_count(&v->view) <= ONCE_LIMIT;
    DD_TRY(new_value(l, once, v->view.dtype, dd_view_shape(&v->view), out));
    return emit_copy(l, v, out);
}

/* The node's value with contiguous strides. */
static dd_status packed(lowering *l, uint32_t id, value *out)
{
    *out = l->val[id];
    if (dd_view_contiguous(&out->view)) return DD_OK;
    if (l->packed[id].slot < 0) DD_TRY(copy_of(l, &l->val[id], &l->packed[id]));
    *out = l->packed[id];
    return DD_OK;
}

static dd_status find_splat(lowering *l, splat want, int *slot)
{
    for (size_t i = 0; i < l->nsplat; i++) {
        const splat *s = &l->splat[i];
        if (s->dtype == want.dtype && s->extent == want.extent && memcmp(&s->c, &want.c, sizeof s->c) == 0) {
            *slot = s->slot;
            return DD_OK;
        }
    }
    value v;
    DD_TRY(new_value(l, true, want.dtype, DD_SHAPE(want.extent ? want.extent : 1), &v));
    dd_command k = command(want.extent ? DD_K_IOTA : DD_K_FILL, &v, 0, NULL);
    k.in.c = want.c;
    DD_TRY(emit(l, &k));
    if (dd_grow((void **)&l->splat, &l->splat_cap, l->nsplat + 1, sizeof *l->splat) != DD_OK) return no_memory(l);
    want.slot = *slot = v.slot;
    l->splat[l->nsplat++] = want;
    return DD_OK;
}

/* CONST and IOTA of any shape repeat a few stored elements. */
static dd_status lower_splat(lowering *l, const dd_node *n, value *out)
{
    *out = (value){.view = dd_view_whole(n->dtype, n->shape)};
    for (int i = 0; i < n->shape.rank; i++) out->view.stride[i] = 0;
    splat want = {.dtype = n->dtype, .c = n->c};
    if (n->op == DD_OP_IOTA) {
        out->view.stride[n->attr[0]] = 1;
        want = (splat){.dtype = n->dtype, .extent = n->shape.dim[n->attr[0]]};
    }
    return find_splat(l, want, &out->slot);
}

static dd_status reshape(lowering *l, uint32_t from, dd_shape s, value *out)
{
    *out = l->val[from];
    if (dd_view_reshape(&l->val[from].view, s, &out->view)) return DD_OK;
    DD_TRY(packed(l, from, out));
    out->view = dd_view_whole(out->view.dtype, s);
    return DD_OK;
}

static dd_status lower_view(lowering *l, const dd_node *n, value *out)
{
    const value *s = &l->val[n->src[0]];
    const int rank = n->shape.rank;
    if (n->op == DD_OP_RESHAPE) return reshape(l, n->src[0], n->shape, out);
    *out = *s;
    for (int i = 0; i < rank; i++) {
        out->view.dim[i] = n->shape.dim[i];
        switch (n->op) {
        case DD_OP_PERMUTE: out->view.stride[i] = s->view.stride[n->attr[i]]; break;
        case DD_OP_EXPAND:
            if (s->view.dim[i] != n->shape.dim[i]) out->view.stride[i] = 0;
            break;
        case DD_OP_SLICE:
            out->offset += n->attr[i] * s->view.stride[i];
            out->view.stride[i] *= n->attr[rank + i];
            break;
        case DD_OP_FLIP:
            if (!(n->attr[0] >> i & 1)) break;
            out->offset += (n->shape.dim[i] - 1) * s->view.stride[i];
            out->view.stride[i] = -s->view.stride[i];
            break;
        default: break;
        }
    }
    return DD_OK;
}

/* ---- movement that writes ---- */

static dd_status lower_pad(lowering *l, const dd_node *n, value *out)
{
    const value *s = &l->val[n->src[0]];
    const int rank = n->shape.rank;
    DD_TRY(new_value(l, is_fixed(l, s) && dd_shape_count(n->shape) <= ONCE_LIMIT, n->dtype, n->shape, out));
    DD_TRY(emit_fill(l, out, 0));
    value inner = *out;
    for (int i = 0; i < rank; i++) {
        inner.offset += n->attr[i] * out->view.stride[i];
        inner.view.stride[i] *= n->attr[2 * rank + i] + 1;
        inner.view.dim[i] = s->view.dim[i];
    }
    return emit_copy(l, s, &inner);
}

static dd_status lower_concat(lowering *l, const dd_node *n, value *out)
{
    const int axis = (int)n->attr[0];
    bool once = dd_shape_count(n->shape) <= ONCE_LIMIT;
    for (int i = 0; i < n->nsrc; i++) once = once && is_fixed(l, &l->val[n->src[i]]);
    DD_TRY(new_value(l, once, n->dtype, n->shape, out));
    value part = *out;
    for (int i = 0; i < n->nsrc; i++) {
        const value *s = &l->val[n->src[i]];
        part.view.dim[axis] = s->view.dim[axis];
        DD_TRY(emit_copy(l, s, &part));
        part.offset += s->view.dim[axis] * out->view.stride[axis];
    }
    return DD_OK;
}

static dd_status lower_pointwise(lowering *l, const dd_node *n, value *out)
{
    const value *src[DD_INSTR_SRC];
    bool once = dd_shape_count(n->shape) <= ONCE_LIMIT;
    for (int i = 0; i < n->nsrc; i++) {
        src[i] = &l->val[n->src[i]];
        once = once && is_fixed(l, src[i]);
    }
    DD_TRY(new_value(l, once, n->dtype, n->shape, out));
    dd_command k = command(n->op == DD_OP_CAST ? DD_K_COPY : DD_K_POINTWISE, out, n->nsrc, src);
    if (n->op != DD_OP_CAST) k.in.ew = ew_of(n->op);
    collapse(&k);
    return emit(l, &k);
}

/* ---- reductions ---- */

/* Rows are reduced beside kept axes that have reduced ones around them (a channel's sum over images and pixels). */
static bool splits(const lowering *l, dd_shape s, unsigned reduced)
{
    const int last = s.rank - 1;
    return !(l->leave_out & DD_NO_FUSE) && last > 1 && reduced >> last & 1u && s.dim[last] >= SPLIT_ROW &&
           (reduced & ((1u << last) - 1)) != 0;
}

/* k in two: the rows first, which can join a row group, then their results. */
static dd_status emit_split(lowering *l, dd_command *k, dd_shape s, unsigned reduced)
{
    const int last = s.rank - 1;
    const dd_place out = k->out;
    const dd_dtype t = k->in.dst.dtype;
    value rows;
    s.dim[last] = 1;
    DD_TRY(new_value(l, false, t, s, &rows));
    k->in.dst = rows.view;
    k->out = (dd_place){rows.slot, 0};
    DD_TRY(emit(l, k));
    const value *src = &rows, dst = {.slot = out.slot, .view = rows.view};
    dd_command sum = command(k->in.kind == DD_K_MAXR ? DD_K_MAXR : DD_K_SUM, &dst, 1, &src);
    for (int i = 0; i < last; i++)
        if (reduced >> i & 1u) s.dim[i] = 1;
    sum.in.dst = dd_view_whole(t, s);
    return emit(l, &sum);
}

/* dst is whole; the kernel sees dims of the source with reduced axes 1. */
static dd_status lower_reduce(lowering *l, const dd_node *n, dd_kind kind, int nsrc, const uint32_t *from, value *out)
{
    const value *src[2];
    bool once = kind != DD_K_MAXR && dd_shape_count(dd_graph_node(l->g, from[0])->shape) <= ONCE_LIMIT;
    for (int i = 0; i < nsrc; i++) {
        src[i] = &l->val[from[i]];
        once = once && is_fixed(l, src[i]);
    }
    DD_TRY(new_value(l, once, n->dtype, n->shape, out));
    dd_command k = command(kind, out, nsrc, src);
    dd_view *v[2] = {&k.in.src[0], &k.in.src[1]};
    const unsigned reduced = dd_views_collapse(nsrc, v, (unsigned)n->attr[0]);
    dd_shape s = dd_view_shape(&k.in.src[0]);
    if (!once && splits(l, s, reduced)) return emit_split(l, &k, s, reduced);
    for (int i = 0; i < s.rank; i++)
        if (reduced >> i & 1u) s.dim[i] = 1;
    k.in.dst = dd_view_whole(n->dtype, s);
    return emit(l, &k);
}

/* ---- everything that wants contiguous operands ---- */

static dd_status emit_dense(lowering *l, const dd_node *n, dd_kind kind, int nsrc, const value *v, value *out)
{
    const value *src[DD_INSTR_SRC];
    for (int i = 0; i < nsrc; i++) src[i] = &v[i];
    DD_TRY(new_value(l, false, n->dtype, n->shape, out));
    dd_command k = command(kind, out, nsrc, src);
    for (int i = 0; i < n->nattr && i < (int)DD_LEN(k.in.attr); i++) k.in.attr[i] = n->attr[i];
    return emit(l, &k);
}

static dd_status lower_dense(lowering *l, const dd_node *n, dd_kind kind, value *out)
{
    value v[DD_INSTR_SRC];
    for (int i = 0; i < n->nsrc; i++) DD_TRY(packed(l, n->src[i], &v[i]));
    return emit_dense(l, n, kind, n->nsrc, v, out);
}

static dd_status lower_bias(lowering *l, const dd_node *n, const dd_fusion *f, value *out)
{
    const dd_node *body = dd_graph_node(l->g, f->body);
    value v[3], copy;
    DD_TRY(packed(l, body->src[0], &v[0]));
    DD_TRY(packed(l, body->src[1], &v[1]));
    DD_TRY(reshape(l, f->bias, DD_SHAPE(dd_view_count(&l->val[f->bias].view)), &v[2]));
    if (!dd_view_contiguous(&v[2].view)) {
        DD_TRY(copy_of(l, &v[2], &copy));
        v[2] = copy;
    }
    DD_TRY(emit_dense(l, body, body->op == DD_OP_CONV ? DD_K_CONV : DD_K_MATMUL, 3, v, out));
    out->view = dd_view_whole(n->dtype, n->shape);
    return DD_OK;
}

/* All solves and determinants of one matrix share its factor. */
static dd_status lower_spd(lowering *l, const dd_node *n, value *out)
{
    const uint32_t a = n->src[0];
    const dd_node *matrix = dd_graph_node(l->g, a);
    value v[2], factor;
    if (l->factor[a] < 0) {
        DD_TRY(packed(l, a, &v[0]));
        const dd_node plain = {.dtype = matrix->dtype, .shape = matrix->shape};
        DD_TRY(emit_dense(l, &plain, DD_K_FACTOR, 1, v, &factor));
        l->factor[a] = factor.slot;
    }
    v[0] = (value){.slot = l->factor[a], .view = dd_view_whole(matrix->dtype, matrix->shape)};
    if (n->op == DD_OP_LOGDET) return emit_dense(l, n, DD_K_LOGDET, 1, v, out);
    DD_TRY(packed(l, n->src[1], &v[1]));
    return emit_dense(l, n, DD_K_BACKSOLVE, 2, v, out);
}

/* ---- nodes ---- */

static dd_kind dense_kind(dd_op op)
{
    switch (op) {
    case DD_OP_ARGMAX: return DD_K_ARGMAX;
    case DD_OP_MATMUL: return DD_K_MATMUL;
    case DD_OP_CONV: return DD_K_CONV;
    case DD_OP_CONV_DX: return DD_K_CONV_DX;
    case DD_OP_CONV_DW: return DD_K_CONV_DW;
    case DD_OP_SPMM: return DD_K_SPMM;
    case DD_OP_SUMPOOL: return DD_K_SUMPOOL;
    case DD_OP_SUMPOOL_T: return DD_K_SUMPOOL_T;
    case DD_OP_POOL_ARGMAX: return DD_K_POOL_ARGMAX;
    case DD_OP_PATCHSUM: return DD_K_PATCHSUM;
    case DD_OP_GATHER: return DD_K_GATHER;
    case DD_OP_SCATTER_ADD: return DD_K_SCATTER_ADD;
    case DD_OP_SAMPLE: return DD_K_SAMPLE;
    case DD_OP_SAMPLE_T: return DD_K_SAMPLE_T;
    default: return DD_K_COUNT;
    }
}

static dd_status lower_input(lowering *l, const dd_node *n, value *out)
{
    dd_compiled *c = l->c;
    *out = (value){.view = dd_view_whole(n->dtype, n->shape)};
    DD_TRY(new_slot(l, DD_SLOT_INPUT, n->dtype, dd_shape_count(n->shape), &out->slot));
    for (size_t i = 0; i < c->nbinding; i++) {
        if (c->binding[i].output || strcmp(c->binding[i].name, n->name) != 0) continue;
        c->binding[i].slot = out->slot;
        c->slot[out->slot].binding = (int)i;
        return DD_OK;
    }
    return dd_fail(DD_EINVAL, "input \"%s\" appeared while compiling", n->name);
}

static dd_status lower_node(lowering *l, uint32_t id, value *out)
{
    const dd_node *n = dd_graph_node(l->g, id);
    const dd_fusion *f = &l->fusion[id];
    switch (n->op) {
    case DD_OP_INPUT: return lower_input(l, n, out);
    case DD_OP_CONST:
    case DD_OP_IOTA: return lower_splat(l, n, out);
    case DD_OP_STOP:
    case DD_OP_RESHAPE:
    case DD_OP_PERMUTE:
    case DD_OP_EXPAND:
    case DD_OP_SLICE:
    case DD_OP_FLIP: return lower_view(l, n, out);
    case DD_OP_PAD: return lower_pad(l, n, out);
    case DD_OP_CONCAT: return lower_concat(l, n, out);
    case DD_OP_SUM:
        if (f->kind == DD_FUSE_SUMMUL)
            return lower_reduce(l, n, DD_K_SUMMUL, 2, dd_graph_node(l->g, f->body)->src, out);
        return lower_reduce(l, n, DD_K_SUM, 1, n->src, out);
    case DD_OP_MAXR: return lower_reduce(l, n, DD_K_MAXR, 1, n->src, out);
    case DD_OP_SPDSOLVE:
    case DD_OP_LOGDET: return lower_spd(l, n, out);
    default: break;
    }
    if (f->kind == DD_FUSE_BIAS) return lower_bias(l, n, f, out);
    if (dd_op_flags(n->op) & DD_F_POINTWISE) return lower_pointwise(l, n, out);
    return lower_dense(l, n, dense_kind(n->op), out);
}

/* An output that is a view of an input is copied aside first: its tensor may be an input's, and is written last. */
static dd_status stage_output(lowering *l, uint32_t id)
{
    value copy;
    if (!l->is_output[id] || l->c->slot[l->val[id].slot].kind != DD_SLOT_INPUT) return DD_OK;
    DD_TRY(copy_of(l, &l->val[id], &copy));
    l->packed[id] = copy;
    return DD_OK;
}

static dd_status lower_outputs(lowering *l)
{
    dd_compiled *c = l->c;
    for (size_t i = 0; i < c->nbinding; i++) {
        dd_binding *b = &c->binding[i];
        if (!b->output) continue;
        value out = {.view = dd_view_whole(b->dtype, b->shape)};
        DD_TRY(new_slot(l, DD_SLOT_OUTPUT, b->dtype, dd_shape_count(b->shape), &out.slot));
        c->slot[out.slot].binding = (int)i;
        b->slot = out.slot;
        for (int j = 0; j < dd_graph_outputs(l->g); j++) {
            const dd_named *o = dd_graph_output(l->g, j);
            if (strcmp(o->name, b->name) != 0) continue;
            const value *v = &l->val[o->id];
            DD_TRY(emit_copy(l, c->slot[v->slot].kind == DD_SLOT_INPUT ? &l->packed[o->id] : v, &out));
        }
    }
    return DD_OK;
}

static dd_status lower_all(lowering *l)
{
    const uint32_t size = dd_graph_size(l->g);
    l->c->stats.nodes = dd_mark_live(l->g, l->live, l->readers);
    if (!(l->leave_out & DD_NO_PATTERNS)) dd_match_patterns(l->g, l->readers, l->live, l->fusion);
    for (int i = 0; i < dd_graph_outputs(l->g); i++) l->is_output[dd_graph_output(l->g, i)->id] = true;
    for (uint32_t id = 0; id < size; id++) l->val[id].slot = l->packed[id].slot = l->factor[id] = -1;
    for (uint32_t id = 1; id < size; id++) {
        if (!l->live[id] || l->fusion[id].covered) continue;
        value v;
        DD_TRY(lower_node(l, id, &v));
        l->val[id] = v;
        DD_TRY(stage_output(l, id));
    }
    return lower_outputs(l);
}

dd_status dd_lower(dd_compiled *c, const dd_graph *g, unsigned leave_out)
{
    const size_t size = dd_graph_size(g);
    lowering l = {.c = c, .g = g, .leave_out = leave_out};
    l.val = dd_alloc(size, sizeof *l.val);
    l.packed = dd_alloc(size, sizeof *l.packed);
    l.factor = dd_alloc(size, sizeof *l.factor);
    l.live = dd_alloc(size, sizeof *l.live);
    l.is_output = dd_alloc(size, sizeof *l.is_output);
    l.readers = dd_alloc(size, sizeof *l.readers);
    l.fusion = dd_alloc(size, sizeof *l.fusion);
    const bool ok = l.val && l.packed && l.factor && l.live && l.is_output && l.readers && l.fusion;
    const dd_status status = ok ? lower_all(&l) : no_memory(&l);
    dd_free(l.val);
    dd_free(l.packed);
    dd_free(l.factor);
    dd_free(l.live);
    dd_free(l.is_output);
    dd_free(l.readers);
    dd_free(l.fusion);
    dd_free(l.splat);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots of experts: one safetensors file each, written whole and read through a mapping, since a method reads two
 * of them an iteration and never all. A file says where it belongs and what it holds, so that one that was moved or
 * damaged is not taken for weights. Knows data, tensor, base. */
#include "base/fs.h"
#include "data/data_internal.h"
#include "data/safetensors.h"
#include "eval/expert_store.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { THETA, LOSS, PLACE, IDENTITY, SHA256, ENTRIES, HEX = 64 };

dd_status dd_expert_store_at(dd_expert_store *s, const char *dir)
{
    const int n = snprintf(s->dir, sizeof s->dir, "%s", dir);
    if (n > 0 && (size_t)n < sizeof s->dir) return DD_OK;
    return dd_fail(DD_EINVAL, "a folder's path must have 1 to %zu bytes", sizeof s->dir - 1);
}

static dd_status expert_dir(const dd_expert_store *s, int64_t expert, char *path, size_t size)
{
    char name[32];
    snprintf(name, sizeof name, "%03" PRId64, expert);
    return dd_path_join(path, size, s->dir, name);
}

static dd_status snapshot_path(const dd_expert_store *s, int64_t expert, int64_t epoch, char *path, size_t size)
{
    char name[64];
    snprintf(name, sizeof name, "%03" PRId64 "/%03" PRId64 ".safetensors", expert, epoch);
    return dd_path_join(path, size, s->dir, name);
}

int64_t dd_expert_have(const dd_expert_store *s, int64_t expert)
{
    char path[1100];
    int64_t n = 0;
    while (n <= s->facts.expert_epochs && snapshot_path(s, expert, n, path, sizeof path) == DD_OK && dd_exists(path))
        n++;
    return n;
}

static bool half(const dd_expert_store *s)
{
    return strcmp(s->facts.store, "bf16") == 0;
}

/* --- bfloat16: the upper half of a float32, rounded to nearest even; x is finite --- */

static uint16_t to_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static float from_bf16(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* --- writing --- */

static void entry(dd_st_entry *e, int i, dd_dtype type, dd_shape shape, void *data)
{
    static const char *const names[] = {"theta", "loss", "place", "identity", "sha256"};
    snprintf(e[i].name, sizeof e[i].name, "%s", names[i]);
    e[i].t = dd_tensor_view(type, shape, data);
}

/* Over everything in the file but itself. */
static void digest(const dd_tensor *const t[ENTRIES], char hex[HEX + 1])
{
    dd_chunk c[SHA256];
    for (int i = 0; i < SHA256; i++) c[i] = (dd_chunk){t[i]->data, dd_tensor_bytes(t[i])};
    dd_sha256_hex(c, SHA256, hex);
}

static dd_status write_snapshot(const dd_expert_store *s, int64_t expert, int64_t epoch, const dd_tensor *theta,
                                double loss)
{
    char path[1100], sum[HEX + 1], identity[HEX + 1];
    int64_t place[2] = {expert, epoch};
    dd_st_entry e[ENTRIES];
    const dd_tensor *t[ENTRIES];
    void *bytes;
    size_t size;
    memcpy(identity, s->identity, sizeof identity);
    entry(e, THETA, theta->dtype, theta->shape, theta->data);
    entry(e, LOSS, DD_F64, DD_SHAPE(1), &loss);
    entry(e, PLACE, DD_I64, DD_SHAPE(2), place);
    entry(e, IDENTITY, DD_I32, DD_SHAPE(HEX / (int)sizeof(int32_t)), identity);
    entry(e, SHA256, DD_I32, DD_SHAPE(HEX / (int)sizeof(int32_t)), sum);
    for (int i = 0; i < ENTRIES; i++) t[i] = &e[i].t;
    digest(t, sum);
    DD_TRY(expert_dir(s, expert, path, sizeof path));
    DD_TRY(dd_make_dir(path));
    DD_TRY(snapshot_path(s, expert, epoch, path, sizeof path));
    DD_TRY(dd_st_write(e, ENTRIES, &bytes, &size));
    const dd_status st = dd_write_file(path, bytes, size);
    dd_free(bytes);
    return st;
}

static dd_status write_half(const dd_expert_store *s, int64_t expert, int64_t epoch, const dd_tensor *theta,
                            double loss)
{
    dd_tensor h;
    DD_TRY(dd_tensor_init(&h, DD_BF16, theta->shape));
    uint16_t *to = h.data;
    for (int64_t i = 0; i < s->facts.parameters; i++) to[i] = to_bf16(dd_f32(theta)[i]);
    const dd_status st = write_snapshot(s, expert, epoch, &h, loss);
    dd_tensor_fini(&h);
    return st;
}

dd_status dd_expert_write(const dd_expert_store *s, int64_t expert, int64_t epoch, const dd_tensor *theta, double loss)
{
    for (int64_t i = 0; i < s->facts.parameters; i++)
        if (!isfinite(dd_f32(theta)[i]))
            return dd_fail(DD_ENUMERIC,
                           "weight %" PRId64 " of expert %" PRId64 " is no number after epoch %" PRId64
                           "; lower the learning rate from %g, in another folder",
                           i, expert + 1, epoch, s->facts.lr);
    return half(s) ? write_half(s, expert, epoch, theta, loss) : write_snapshot(s, expert, epoch, theta, loss);
}

/* --- reading --- */

static dd_status find_all(const dd_expert_store *s, const dd_st_file *f, const dd_tensor *t[ENTRIES], const char *path)
{
    const dd_shape hex = DD_SHAPE(HEX / (int)sizeof(int32_t));
    const struct {
        const char *name;
        dd_dtype type;
        dd_shape shape;
    } want[ENTRIES] = {{"theta", half(s) ? DD_BF16 : DD_F32, DD_SHAPE(s->facts.parameters)},
                       {"loss", DD_F64, DD_SHAPE(1)},
                       {"place", DD_I64, DD_SHAPE(2)},
                       {"identity", DD_I32, hex},
                       {"sha256", DD_I32, hex}};
    for (int i = 0; i < ENTRIES; i++) {
        char is[128], must[128];
        t[i] = dd_st_find(f, want[i].name);
        if (!t[i])
            return dd_fail(DD_EFORMAT,
                           "%s holds no \"%s\": it is no snapshot of an expert, or damaged; remove it, and attar "
                           "experts makes it again",
                           path, want[i].name);
        if (t[i]->dtype != want[i].type || !dd_shape_equal(t[i]->shape, want[i].shape))
            return dd_fail(DD_EFORMAT, "%s: \"%s\" is %s %s, these experts have %s %s", path, want[i].name,
                           dd_dtype_name(t[i]->dtype), dd_shape_text(t[i]->shape, is, sizeof is),
                           dd_dtype_name(want[i].type), dd_shape_text(want[i].shape, must, sizeof must));
    }
    return DD_OK;
}

static dd_status check(const dd_expert_store *s, int64_t expert, int64_t epoch, const dd_tensor *const t[ENTRIES],
                       const char *path)
{
    char sum[HEX + 1];
    int64_t place[2];
    digest(t, sum);
    if (memcmp(t[SHA256]->data, sum, HEX) != 0)
        return dd_fail(DD_EFORMAT,
                       "%s: its contents do not have the SHA-256 that it records: it is damaged; remove it and the "
                       "command that trained it makes it again",
                       path);
    if (memcmp(t[IDENTITY]->data, s->identity, HEX) != 0)
        return dd_fail(DD_EFORMAT, "%s is of other experts (%.12s) than experts.json describes (%.12s); remove it",
                       path, (const char *)t[IDENTITY]->data, s->identity);
    memcpy(place, t[PLACE]->data, sizeof place);
    if (place[0] != expert || place[1] != epoch)
        return dd_fail(DD_EFORMAT,
                       "%s is expert %" PRId64 " after %" PRId64 " epochs by what it records: it lies in the wrong "
                       "place; remove it",
                       path, place[0], place[1]);
    return DD_OK;
}

static dd_status take_theta(const dd_tensor *from, dd_tensor *theta, const char *path)
{
    const int64_t n = dd_shape_count(theta->shape);
    float *to = dd_f32(theta);
    if (from->dtype == DD_F32) memcpy(to, from->data, dd_tensor_bytes(from));
    for (int64_t i = 0; i < n; i++) {
        if (from->dtype == DD_BF16) {
            uint16_t h;
            memcpy(&h, (const char *)from->data + i * (int64_t)sizeof h, sizeof h);
            to[i] = from_bf16(h);
        }
        if (!isfinite(to[i])) return dd_fail(DD_EFORMAT, "%s: weight %" PRId64 " is no finite number", path, i);
    }
    return DD_OK;
}

static dd_status parse(const dd_expert_store *s, int64_t expert, int64_t epoch, const void *bytes, size_t size,
                       const char *path, dd_tensor *theta, double *loss)
{
    dd_st_file f;
    const dd_tensor *t[ENTRIES];
    if (dd_st_parse(&f, bytes, size, path) != DD_OK)
        return dd_fail(DD_EFORMAT, "%s; remove it and the command that trained it makes it again", dd_last_error());
    DD_TRY(find_all(s, &f, t, path));
    DD_TRY(check(s, expert, epoch, t, path));
    if (loss) memcpy(loss, t[LOSS]->data, sizeof *loss);
    return theta ? take_theta(t[THETA], theta, path) : DD_OK;
}

dd_status dd_expert_read(const dd_expert_store *s, int64_t expert, int64_t epoch, dd_tensor *theta, double *loss,
                         size_t *bytes)
{
    char path[1100];
    const void *p;
    DD_TRY(snapshot_path(s, expert, epoch, path, sizeof path));
    DD_TRY(dd_map_file(path, SIZE_MAX / 2, &p, bytes));
    const dd_status st = parse(s, expert, epoch, p, *bytes, path, theta, loss);
    dd_unmap_file(p, *bytes);
    return st;
}

/* --- a folder to read from --- */

/* A folder that shows none of its snapshots may be one that must not be looked into. */
static dd_status look_into(const dd_expert_store *s, int64_t expert, bool *there)
{
    char path[1100], **names;
    size_t n;
    DD_TRY(expert_dir(s, expert, path, sizeof path));
    *there = dd_is_dir(path);
    if (!*there) return DD_OK;
    DD_TRY(dd_list_dir(path, &names, &n));
    dd_list_free(names, n);
    return DD_OK;
}

static dd_status find_finished(dd_experts *e)
{
    int64_t most = 0;
    size_t bytes = 0;
    for (int32_t i = 0; i < DD_EXPERTS_MOST; i++) {
        const int64_t have = dd_expert_have(&e->s, i);
        bool there = have > 0;
        most = have > most ? have : most;
        if (!have) DD_TRY(look_into(&e->s, i, &there));
        if (have == e->s.facts.expert_epochs + 1)
            e->expert[e->count++] = i;
        else
            e->unfinished += there;
    }
    if (!e->count)
        return dd_fail(DD_ENOTFOUND,
                       "%s: no expert has all of its %" PRId64 " snapshots, at most %" PRId64
                       "; go on with the command that began them",
                       e->s.dir, e->s.facts.expert_epochs + 1, most);
    DD_TRY(dd_expert_read(&e->s, e->expert[0], 0, NULL, NULL, &bytes));
    e->bytes = (int64_t)bytes;
    return DD_OK;
}

static dd_status open_folder(dd_experts *e, const char *dir)
{
    dd_expert_facts *here = dd_alloc(1, sizeof *here);
    if (!here) return dd_fail(DD_ENOMEM, "out of memory for a record");
    dd_status st = dd_expert_store_at(&e->s, dir);
    if (st == DD_OK) st = dd_expert_facts_read(&e->s.facts, dir);
    if (st == DD_OK) st = dd_expert_facts_of(here, e->d, e->net);
    if (st == DD_OK) st = dd_expert_facts_fit(&e->s.facts, here, dir);
    if (st == DD_OK) st = dd_expert_identity(&e->s.facts, e->s.identity);
    dd_free(here);
    DD_TRY(st);
    return find_finished(e);
}

dd_status dd_experts_open(dd_experts **out, const char *dir, const dd_dataset *d, const dd_net *net)
{
    *out = NULL;
    dd_experts *e = dd_alloc(1, sizeof *e);
    if (!e) return dd_fail(DD_ENOMEM, "out of memory for experts");
    e->d = d;
    e->net = net;
    const dd_status st = open_folder(e, dir);
    if (st == DD_OK)
        *out = e;
    else
        dd_experts_close(e);
    return st;
}

void dd_experts_close(dd_experts *e)
{
    dd_free(e);
}

int64_t dd_experts_count(const dd_experts *e)
{
    return e->count;
}

int64_t dd_experts_unfinished(const dd_experts *e)
{
    return e->unfinished;
}

dd_status dd_experts_fingerprint(const dd_experts *e, int64_t count, char hex[65])
{
    if (count < 1 || count > e->count)
        return dd_fail(DD_EINVAL, "%s holds %" PRId64 " finished experts, not %" PRId64, e->s.dir, e->count, count);
    const dd_chunk c[] = {{e->s.identity, HEX}, {e->expert, (size_t)count * sizeof *e->expert}};
    dd_sha256_hex(c, 2, hex);
    return DD_OK;
}

int64_t dd_experts_epochs(const dd_experts *e)
{
    return e->s.facts.expert_epochs;
}

int64_t dd_experts_bytes(const dd_experts *e)
{
    return e->count * (e->s.facts.expert_epochs + 1) * e->bytes;
}

static dd_status check_place(const dd_experts *e, int64_t expert, int64_t epoch)
{
    if (expert >= 0 && expert < e->count && epoch >= 0 && epoch <= e->s.facts.expert_epochs) return DD_OK;
    return dd_fail(DD_EINVAL,
                   "there is no snapshot %" PRId64 " of expert %" PRId64 ": %s has experts 0..%" PRId64
                   " and snapshots 0..%" PRId64,
                   epoch, expert, e->s.dir, e->count - 1, e->s.facts.expert_epochs);
}

dd_status dd_experts_read(const dd_experts *e, int64_t expert, int64_t epoch, dd_tensor *theta)
{
    char is[128];
    size_t bytes;
    DD_TRY(check_place(e, expert, epoch));
    if (theta->dtype != DD_F32 || !dd_shape_equal(theta->shape, DD_SHAPE(e->s.facts.parameters)))
        return dd_fail(DD_EINVAL, "a snapshot is read into f32 [%" PRId64 "], not %s %s", e->s.facts.parameters,
                       dd_dtype_name(theta->dtype), dd_shape_text(theta->shape, is, sizeof is));
    return dd_expert_read(&e->s, e->expert[expert], epoch, theta, NULL, &bytes);
}

dd_status dd_experts_loss(const dd_experts *e, int64_t expert, int64_t epoch, double *loss)
{
    size_t bytes;
    DD_TRY(check_place(e, expert, epoch));
    return dd_expert_read(&e->s, e->expert[expert], epoch, NULL, loss, &bytes);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 as lower-case hex over a list of byte ranges; the only user of nettle. Knows nothing else. */
#include "data/data_internal.h"
#include <nettle/sha2.h>

void dd_sha256_hex(const dd_chunk *chunks, int n, char hex[65])
{
    static const char digit[] = "0123456789abcdef";
    struct sha256_ctx ctx;
    uint8_t sum[SHA256_DIGEST_SIZE];
    sha256_init(&ctx);
    for (int i = 0; i < n; i++) {
        if (chunks[i].n) sha256_update(&ctx, chunks[i].n, chunks[i].p);
    }
    sha256_digest(&ctx, sizeof sum, sum);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) {
        hex[2 * i] = digit[sum[i] >> 4];
        hex[2 * i + 1] = digit[sum[i] & 15];
    }
    hex[64] = 0;
}

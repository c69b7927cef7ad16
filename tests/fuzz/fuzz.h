/* SPDX-License-Identifier: Apache-2.0
 *
 * What every fuzz target shares: the entry point's prototype and the bound on what one input may inflate to. */
#ifndef ATTAR_FUZZ_H
#define ATTAR_FUZZ_H
#include <stddef.h>
#include <stdint.h>

#define FUZZ_LIMIT ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Version and build facts. Knows the C library only. */
#include "attar/status.h"

#ifndef ATTAR_VERSION
#define ATTAR_VERSION "unknown"
#endif

const char *dd_version(void)
{
    return ATTAR_VERSION;
}

const char *dd_build_info(void)
{
#if defined(__clang__)
    return "attar " ATTAR_VERSION ", clang " __clang_version__ ", backends ref and cpu (oneDNN, OpenBLAS, OpenMP)";
#else
    return "attar " ATTAR_VERSION ", gcc " __VERSION__ ", backends ref and cpu (oneDNN, OpenBLAS, OpenMP)";
#endif
}

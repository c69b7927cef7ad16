/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target over files and folders given as arguments, so that a corpus is a regression test with any
 * compiler. Each input is handed over in a block of exactly its size, so that a sanitizer sees the first byte too far.
 */
#include "fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        perror(path);
        if (f) fclose(f);
        return 1;
    }
    const size_t size = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(size ? size : 1);
    const int bad = !data || fread(data, 1, size, f) != size;
    fclose(f);
    if (!bad) LLVMFuzzerTestOneInput(data, size);
    free(data);
    return bad;
}

static int run_folder(const char *path, int *count)
{
    DIR *d = opendir(path);
    int bad = 0;
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) {
        char file[4096];
        if (e->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        bad |= run_file(file);
        ++*count;
    }
    closedir(d);
    return bad;
}

int main(int argc, char **argv)
{
    int count = 0, bad = argc < 2;
    for (int i = 1; i < argc; i++) {
        const int r = run_folder(argv[i], &count);
        if (r >= 0)
            bad |= r;
        else {
            bad |= run_file(argv[i]);
            count++;
        }
    }
    printf("%d inputs\n", count);
    return bad || count == 0;
}

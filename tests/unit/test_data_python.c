/* SPDX-License-Identifier: Apache-2.0
 *
 * The Python reader and the exports, judged by Python itself: writes a set, then lets numpy (and torch, where it is
 * installed) read it back and compare with sums computed here. Skipped with a message where numpy is missing. */
#include "attar/data.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define PYTHON "/usr/bin/python3"

static bool python(const char *code)
{
    char line[4096];
    snprintf(line, sizeof line, "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=%s/python %s -c '%s'", ATTAR_SOURCE_DIR, PYTHON,
             code);
    return system(line) == 0;
}

/* A set of 20 random images in a new folder, with everything a set can hold. */
static dd_synset *make_set(const char *dir)
{
    char path[128];
    dd_dataset *d;
    dd_synset *s;
    assert_int_equal(dd_dataset_open(&d, "digits", NULL), DD_OK);
    assert_int_equal(dd_synset_new(&s, 20, d), DD_OK);
    dd_dataset_close(d);
    dd_key_fill_normal(dd_key_seed(5), dd_f32(&s->images), dd_shape_count(s->images.shape), 0, 1);
    assert_int_equal(dd_tensor_init(&s->lr, DD_F32, DD_SHAPE(1)), DD_OK);
    dd_f32(&s->lr)[0] = 0.5f;
    assert_int_equal(dd_synset_save(s, dir, "{\"note\": \"made by a test\"}"), DD_OK);
    snprintf(path, sizeof path, "%s/s.npz", dir);
    assert_int_equal(dd_synset_export(s, "npz", path), DD_OK);
    snprintf(path, sizeof path, "%s/pt", dir);
    assert_int_equal(dd_synset_export(s, "pt", path), DD_OK);
    return s;
}

static void reader_agrees(void **state)
{
    char dir[] = "/tmp/attar-python-XXXXXX", code[2048];
    double sum = 0;
    (void)state;
    if (!python("import numpy")) {
        print_message("skipped: %s has no numpy\n", PYTHON);
        skip();
    }
    assert_non_null(mkdtemp(dir));
    dd_synset *s = make_set(dir);
    for (int64_t i = 0; i < dd_shape_count(s->images.shape); i++) sum += (double)dd_f32(&s->images)[i];
    snprintf(code, sizeof code,
             "import numpy as np\nfrom attar import load\n"
             "d = load(\"%s\"); e = load(\"%s/s.npz\")\n"
             "assert d.images.shape == (20, 1, 8, 8) and d.images.dtype == np.float32\n"
             "assert abs(d.images.sum(dtype=np.float64) - %.17g) < 1e-9\n"
             "assert d.labels.tolist() == [i // 2 for i in range(20)] and d.lr[0] == 0.5 and d.soft_labels is None\n"
             "assert d.class_names[9] == \"9\" and d.info[\"note\"] == \"made by a test\"\n"
             "assert d.mean[0] == %.17g and d.std[0] == %.17g\n"
             "x = d.pixels; assert x.dtype == np.float32 and x.min() == 0 and x.max() == 1\n"
             "assert (e.images == d.images).all() and (e.labels == d.labels).all() and (e.pixels == x).all()\n",
             dir, dir, sum, s->mean[0], s->std[0]);
    assert_true(python(code));
    snprintf(code, sizeof code,
             "from attar import load\nimport sys\np = \"%s/set.safetensors\"\nb = bytearray(open(p, \"rb\").read())\n"
             "b[-9] ^= 1\nopen(p, \"wb\").write(b)\n"
             "try:\n    load(\"%s\")\nexcept ValueError as e:\n    sys.exit(\"SHA-256\" not in str(e))\nsys.exit(1)",
             dir, dir);
    assert_true(python(code));
    snprintf(code, sizeof code,
             "import numpy as np, sys\nfrom attar import Set, load\nz = dict(np.load(\"%s/s.npz\"))\n"
             "def refused(words, change, info={}):\n"
             "    try:\n        Set({**z, **change}, info)\n"
             "    except ValueError as e:\n        assert words in str(e), e\n        return\n"
             "    sys.exit(words + \": not refused\")\n"
             "refused(\"label 2143289344\", {\"labels\": np.full(20, 2143289344)}, {\"class_names\": [\"a\"] * 10,"
             " \"shape\": list(z[\"images\"].shape)})\n"
             "refused(\"not class numbers\", {\"labels\": np.full(20, -1)})\n"
             "refused(\"soft labels of shape\", {\"soft_labels\": np.zeros((3, 10))})\n"
             "refused(\"for 1 channels\", {}, {\"std\": [1, 2], \"shape\": list(z[\"images\"].shape)})\n"
             "open(\"%s/cut.npz\", \"wb\").write(open(\"%s/s.npz\", \"rb\").read()[:300])\n"
             "try:\n    load(\"%s/cut.npz\")\nexcept ValueError as e:\n    sys.exit(\"cut.npz\" not in str(e))\n"
             "sys.exit(1)",
             dir, dir, dir, dir);
    assert_true(python(code));
    if (python("import sys, importlib.util as u; sys.exit(u.find_spec(\"torch\") is None)")) {
        snprintf(code, sizeof code,
                 "import torch, numpy as np\nz = np.load(\"%s/s.npz\")\n"
                 "for safe in (False, True):\n"
                 "    x = torch.load(\"%s/pt/images.pt\", weights_only=safe)\n"
                 "    y = torch.load(\"%s/pt/labels.pt\", weights_only=safe)\n"
                 "    assert (x.numpy() == z[\"images\"]).all() and (y.numpy() == z[\"labels\"]).all()\n"
                 "    assert x.dtype == torch.float32 and y.dtype == torch.int64\n",
                 dir, dir, dir);
        assert_true(python(code));
    }
    dd_synset_free(s);
    snprintf(code, sizeof code, "rm -r %s", dir);
    assert_int_equal(system(code), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reader_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

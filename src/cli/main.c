/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of commands and the way from argv to an exit status. Knows the other files of this folder by cli.h. */
#include "cli/cli.h"
#include <string.h>

static const dd_command commands[] = {
    {"distill",
     "",
     "make a small synthetic set out of a data set",
     "Distils a data set into a few synthetic images per class, such that a network trained on them alone does well on "
     "the real test images. The folder given by --out receives the set (set.safetensors, set.json, grid.png), a log "
     "of the run (metrics.jsonl) and a checkpoint. An interrupted run goes on with --resume and ends with the same "
     "bytes as one that was never interrupted.",
     {{"attar distill --data digits --ipc 1 --out runs/digits", "one image per digit, from the embedded 8x8 digits"},
      {"attar distill --data fashion-mnist --method dm --ipc 10 --out runs/fashion --set lr_img=1",
       "ten images per class, with an option of the method (see attar methods)"}},
     dd_distill_flags,
     dd_cmd_distill},
    {"eval",
     "DIR",
     "train networks on a synthetic set and test them on the real data",
     "Loads a synthetic set, opens the data set that its set.json names, checks that class names, shape and "
     "normalisation agree, trains fresh networks on the set and tests them on real test images. The result stands "
     "beside the recorded one, and the last line says whether both agree within their noise.",
     {{"attar eval runs/digits", "repeats the recorded evaluation"},
      {"attar eval runs/fashion --net lenet --repeats 5 --baselines", "another network, beside random real images"}},
     dd_eval_flags,
     dd_cmd_eval},
    {"train",
     "",
     "train a network on the whole real data set",
     "Trains a network on real data in the ordinary way: the number that a distilled set is measured against. Prints "
     "the loss and the held-out accuracy of each epoch, the test accuracy and a curve.",
     {{"attar train --data digits --epochs 20", "the whole of the digits"},
      {"attar train --data cifar10 --net convnet:depth=3,width=128 --aug crop_flip --json", "one JSON object"}},
     dd_train_flags,
     dd_cmd_train},
    {"info",
     "DIR",
     "show what a synthetic set holds",
     "Loads the set in DIR, checks it against its recorded hash and prints its shape, classes and normalisation; "
     "--json prints set.json itself.",
     {{"attar info runs/digits", "for people"}, {"attar info runs/digits --json", "for programs"}},
     dd_info_flags,
     dd_cmd_info},
    {"export",
     "DIR",
     "write a synthetic set in another format",
     "Writes the set in DIR as npz (numpy), pt (a folder with images.pt and labels.pt for torch.load) or png (a folder "
     "per class, natural colours).",
     {{"attar export runs/digits --to npz --out digits.npz", "opens with numpy.load"},
      {"attar export runs/digits --to png --out pictures", "pictures/CLASS/000.png and so on"}},
     dd_export_flags,
     dd_cmd_export},
    {"data",
     "check PATH | list",
     "check a data set, or list the known ones",
     "check opens a data set by name or path and reports its counts, shape, classes, mean and standard deviation and "
     "hash, or the first defect with the numbers. list names the data sets that are known by name.",
     {{"attar data check photos/ --resize 32x32", "a folder of folders of PNG and JPEG images"},
      {"attar data list", "names that --data takes"}},
     dd_data_flags,
     dd_cmd_data},
    {"methods",
     "",
     "list the distillation methods and their options",
     "Lists the methods, where each comes from and what --set takes for it.",
     {{"attar methods", "for people"}, {"attar methods --json", "for programs"}},
     dd_table_flags,
     dd_cmd_methods},
    {"nets",
     "",
     "list the networks and their options",
     "Lists the networks that --net takes, as NAME or NAME:KEY=VALUE,...",
     {{"attar nets", "for people"}, {"attar nets --json", "for programs"}},
     dd_table_flags,
     dd_cmd_nets},
    {"ops",
     "",
     "list the operations of the graph and their derivatives",
     "Lists the operations that graphs are made of, with their shapes and their vector-Jacobian products.",
     {{"attar ops", "for people"}, {"attar ops --markdown", "for a document"}},
     dd_table_flags,
     dd_cmd_ops},
};

const dd_command *dd_command_at(int i)
{
    return i >= 0 && (size_t)i < DD_LEN(commands) ? &commands[i] : NULL;
}

static dd_status find_command(const dd_command **out, const char *name)
{
    const char *names[DD_LEN(commands) + 2] = {"help"};
    for (size_t i = 0; i < DD_LEN(commands); i++) {
        names[i + 1] = commands[i].name;
        *out = &commands[i];
        if (strcmp(name, commands[i].name) == 0) return DD_OK;
    }
    const char *near = dd_nearest(name, names);
    *out = NULL;
    if (near) return dd_fail(DD_EINVAL, "there is no command \"%s\", did you mean \"%s\"?", name, near);
    return dd_fail(DD_EINVAL, "there is no command \"%s\"; attar help lists them", name);
}

static dd_status help(int argc, char **argv)
{
    const dd_command *c;
    if (argc == 0) {
        dd_help_main(stdout);
        return DD_OK;
    }
    if (strcmp(argv[0], "--man") == 0 && argc == 1) {
        dd_man_page(stdout);
        return DD_OK;
    }
    if (strcmp(argv[0], "--completion") == 0) {
        if (argc != 2) return dd_fail(DD_EINVAL, "help --completion needs a shell: bash, zsh or fish");
        return dd_completion(stdout, argv[1]);
    }
    if (argv[0][0] == '-')
        return dd_fail(DD_EINVAL, "help: there is no option %s; it takes a command, --man or --completion SHELL",
                       argv[0]);
    if (argc > 1) return dd_fail(DD_EINVAL, "help: \"%s\" is one argument too many", argv[1]);
    DD_TRY(find_command(&c, argv[0]));
    dd_help_command(stdout, c);
    return DD_OK;
}

static dd_status run(int argc, char **argv)
{
    const dd_command *c;
    if (argc < 2) return dd_fail(DD_EINVAL, "no command is given; attar help lists them");
    if (strcmp(argv[1], "help") == 0) return help(argc - 2, argv + 2);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return help(0, argv);
    if (strcmp(argv[1], "--version") == 0) {
        printf("attar %s\n%s\n", dd_version(), dd_build_info());
        return DD_OK;
    }
    DD_TRY(find_command(&c, argv[1]));
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            dd_help_command(stdout, c);
            return DD_OK;
        }
    }
    return c->run(c, argc - 2, argv + 2);
}

static int exit_status(dd_status s)
{
    switch (s) {
    case DD_OK: return 0;
    case DD_EINVAL: return 2;
    case DD_EFORMAT: return 3;
    case DD_EIO: return 4;
    case DD_ENOMEM: return 5;
    case DD_ENOTFOUND: return 6;
    case DD_EEXIST: return 7;
    case DD_EUNSUPPORTED: return 8;
    case DD_ENUMERIC: return 9;
    case DD_EINTERRUPTED: return 130;
    }
    return 1;
}

/* One line, whatever bytes a file name or a foreign library put into the message. */
static void complain(const char *message)
{
    fputs("attar: ", stderr);
    for (; *message; message++) fputc((unsigned char)*message < 0x20 || *message == 0x7f ? '?' : *message, stderr);
    fputc('\n', stderr);
}

int main(int argc, char **argv)
{
    dd_status st = run(argc, argv);
    /* fclose reports what a full disk or a closed pipe made of our output. */
    bool lost = ferror(stdout) != 0;
    lost = fclose(stdout) != 0 || lost;
    if (st == DD_OK && lost) st = dd_fail(DD_EIO, "the output could not be written completely");
    if (st != DD_OK) complain(dd_last_error());
    return exit_status(st);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of commands: a new one is a row here and a file cmd_NAME.c. Help, man page and completion follow. */
#include "cli/cli.h"

static const dd_command commands[] = {
    {"distill",
     "",
     "make a small synthetic set out of a data set",
     "Distils a data set into a few synthetic images per class, such that a network trained on them alone does well on "
     "the real test images. The folder given by --out receives the set (set.safetensors, set.json, grid.png), a log "
     "of the run (metrics.jsonl) and a checkpoint. An interrupted run goes on with --resume and ends with the same "
     "bytes as one that was never interrupted.",
     {{"attar distill --data digits --net convnet:depth=2,width=32 --iterations 200 --set lr_img=1 --eval-epochs 200 "
       "--out runs/digits",
       "one image per digit, from the embedded 8x8 digits, in seconds"},
      {"attar distill --data fashion-mnist --method dm --ipc 10 --iterations 300 --out runs/fashion",
       "ten images per class; without --iterations the method's own 20,000, which take hours (see attar plan)"}},
     dd_distill_flags,
     dd_cmd_distill},
    {"plan",
     "",
     "say what a run of distill will cost",
     "Takes the options of distill and prints the time, memory and disk that the run would take, from a few iterations "
     "and epochs measured now. Nothing is written but measured kernels (see attar tune).",
     {{"attar plan --data digits --ipc 1 --iterations 1000", "time, memory and disk"},
      {"attar plan --data fashion-mnist --ipc 10 --json", "one JSON object"}},
     dd_distill_flags,
     dd_cmd_plan},
    {"profile",
     "",
     "say where the time of a run of distill goes",
     "Takes the options of distill, makes a few iterations and prints the time of each kind of instruction, "
     "contractions "
     "by shape, with the arithmetic and memory traffic it reaches and the fraction of what this machine's float32 "
     "units "
     "can do (measured; Winograd convolutions may exceed 1, since direct multiplications are counted). Nothing is "
     "written but measured kernels. distill --profile shows the same of a whole run.",
     {{"attar profile --data fashion-mnist --ipc 10", "iterations of dm"},
      {"attar profile --data digits --ipc 1 --json", "one JSON object"}},
     dd_distill_flags,
     dd_cmd_plan},
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
    {"baseline",
     "",
     "train networks on random real images",
     "Trains networks on random real images, each on its own, and tests them: what any small set must beat, and a "
     "check "
     "that training and testing work as published.",
     {{"attar baseline --data digits --ipc 1 --epochs 100", "ten random digits"},
      {"attar baseline --data fashion-mnist --ipc 10", "published: 73.8 % (protocol of the DC paper)"}},
     dd_baseline_flags,
     dd_cmd_baseline},
    {"train",
     "",
     "train a network on the whole real data set",
     "Trains a network on real data in the ordinary way: the number that a distilled set is measured against. Prints "
     "the loss and the held-out accuracy of each epoch, the test accuracy and a curve.",
     {{"attar train --data digits --epochs 20", "the whole of the digits"},
      {"attar train --data cifar10 --net convnet:depth=3,width=128 --aug crop_flip --json", "one JSON object"}},
     dd_train_flags,
     dd_cmd_train},
    {"experts",
     "",
     "train experts, whose way trajectory matching follows",
     "Trains networks on the real data, as methods that match trajectories (MTT) need them, and keeps their weights at "
     "the start and after every epoch: DIR/003/017.safetensors is expert 3 after 17 epochs, and DIR/experts.json says "
     "what they are. Each expert depends on the seed and its number alone. The same command on the same folder goes on "
     "where it was stopped, to the same bytes; it may ask for more experts, and for more epochs where momentum is 0 "
     "and "
     "the store float32. A snapshot takes 4 bytes a weight, or 2 with --store bf16. A method can only follow experts "
     "whose loss still falls.",
     {{"attar experts --data digits --net convnet:depth=2,width=32 --experts 2 --expert-epochs 5 --out runs/experts",
       "two experts of six snapshots each, in seconds"},
      {"attar experts --data cifar10 --experts 100 --store bf16 --out runs/cifar10-experts",
       "a hundred ConvNet-3, which take hours and 3.2 GB"}},
     dd_experts_flags,
     dd_cmd_experts},
    {"tune",
     "",
     "measure convolution kernels on this machine",
     "Measures the kernels that a network's convolutions can have here, ours and oneDNN's, and keeps the times in the "
     "user's "
     "cache ($XDG_CACHE_HOME/attar/kernels.txt), where all commands find them. They measure what is missing "
     "themselves; "
     "this command shows it, and does it beforehand. --no-tune chooses by rules that are the same everywhere; a "
     "resumed run keeps the kernels that it began with.",
     {{"attar tune --net convnet:depth=1,width=16 --image 1x8x8", "a small network"},
      {"attar tune --image 3x32x32 --threads 1", "the usual ConvNet-3 on one thread"}},
     dd_tune_flags,
     dd_cmd_tune},
    {"grad",
     "IN OUT",
     "write the gradient of one step of a method",
     "Reads synthetic images, a real batch, a network and augmentation draws from a safetensors file, and writes the "
     "method's loss and its gradients to another, in float32 or float64: for comparing with any other implementation. "
     "docs/compare.md says what the files hold.",
     {{"attar grad --method dsa --ipc 10 in.safetensors out.safetensors",
       "images of ten a class, as in.safetensors has"},
      {"attar grad --method dc --type float64 --backend ref in.safetensors out.safetensors", "by the plain reference"}},
     dd_grad_flags,
     dd_cmd_grad},
    {"kernel",
     "X [Y]",
     "write the kernel matrix between two sets",
     "Writes the kernel of an infinitely wide network between the images of X and of Y, or of X with itself, as tensor "
     "\"kernel\" of a safetensors file: for regression elsewhere. X and Y are folders of synthetic sets, or "
     "safetensors "
     "files with float32 images [N,C,H,W]; images are taken in the space they are in.",
     {{"attar kernel runs/digits --out k.safetensors", "of a set with itself, by FC-1's neural tangent kernel"},
      {"attar kernel a.safetensors b.safetensors --kernel conv:depth=2,kind=nngp --out k.safetensors", "of two files"}},
     dd_kernel_flags,
     dd_cmd_kernel},
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
     "[NAME]",
     "list the distillation methods and their options",
     "Lists the methods, or the one named: where each comes from, the order of its derivative, what a step takes, what "
     "memory grows with and what --set takes for it. --matrix shows what each can be combined with.",
     {{"attar methods mtt", "one of them"}, {"attar methods --matrix", "a row a method, a column a choice"}},
     dd_methods_flags,
     dd_cmd_methods},
    {"presets",
     "[NAME]",
     "list the published settings",
     "Lists the settings of papers that distill --preset takes, with their iterations, the test accuracy that they are "
     "published to reach and where both come from. NAME is one of them, whose settings are shown too, or how some "
     "begin: "
     "dsa, dsa/cifar10.",
     {{"attar presets mtt", "those of MTT"},
      {"attar distill --preset dm/mnist/10 --budget 1h --out runs/dm10", "as published, as far as an hour goes"}},
     dd_presets_flags,
     dd_cmd_presets},
    {"nets",
     "[NAME]",
     "list the networks and their options",
     "Lists the networks, or the one named, that --net takes, as NAME or NAME:KEY=VALUE,...",
     {{"attar nets", "for people"}, {"attar nets --json", "for programs"}},
     dd_table_flags,
     dd_cmd_nets},
    {"kernels",
     "[NAME]",
     "list the kernels of infinitely wide networks and their options",
     "Lists the kernels, or the one named, that --kernel and kip's option kernel take, as NAME or NAME:KEY=VALUE,...",
     {{"attar kernels", "for people"}, {"attar kernels --json", "for programs"}},
     dd_table_flags,
     dd_cmd_kernels},
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

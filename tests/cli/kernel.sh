#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kernels: distilling by one, evaluating by it and by others, sets with targets of a regression, matrices in files.
. "$(dirname "$0")/lib.sh"

kip="distill --method kip --data digits --ipc 1 --iterations 60 --seed 3 --threads 1 --quiet"
works 'by kernel regression' $kip --out hard
"$ATTAR" $kip --set labels=learned --out learned --json >out 2>err || fail "learned labels: $(cat err)"
works 'matches the recorded result' eval hard
works 'protocol dc' eval learned --protocol dc --epochs 2 --repeats 1 --net convnet:depth=1,width=8
works 'targets of a regression' info learned
works 'fc:depth=2' eval learned --kernel FC-2
works 'by another protocol' eval hard --ridge 0.01
works 'ridge 0.01' eval hard --ridge 0.01
works '' $kip --set labels=learned --set eval_repeats=0 --out apart
python3 - hard/set.json learned/set.json <<'PY' || fail 'the recorded results are worse than a kernel regression should be'
import json, sys
for path in sys.argv[1:]:
    with open(path) as f:
        s = json.load(f)
    assert s["result"]["mean"] > 0.85 > 0.75 > s["random_real"]["mean"], s["result"]
    assert s["protocol"]["kernel"].startswith("fc:depth=1,"), s["protocol"]
PY

# blocks of kernels: the set is the same but for rounding
conv="distill --method kip --data digits --ipc 1 --iterations 2 --seed 3 --threads 1 --quiet --set kernel=conv:depth=2 --set batch_real=20"
works 'KIP' $conv --out whole
works 'KIP' $conv --set memory=8 --out blocks
works 'KIP' $conv --protocol dc --eval-epochs 1 --eval-repeats 1 --no-baselines --net convnet:depth=1,width=8 --out judged
works 'conv:depth=2' eval judged --protocol krr
# a run begins from the images of another
works 'KIP' $kip --iterations 2 --set lr_img=0 --init-from whole --out again
# and goes on when that one is gone
cp -r whole gone
works 'KIP' $kip --iterations 2 --init-from gone --out on
rm -r gone
works 'KIP' $kip --iterations 3 --init-from ./gone/ --out on --resume
expect 2 'trains none' eval whole --epochs 7
expect 2 'trains none' eval whole --net convnet
expect 2 'is 0 or more' eval whole --ridge -0.5
expect 2 'is 0 or more' eval whole --protocol dsa --ridge -0.5
works 'LS' distill --method ls --data digits --ipc 1 --init-from whole --seed 3 --threads 1 --quiet --out relabelled
expect 2 'this run makes [20,1,8,8]' distill --method ls --data digits --ipc 2 --init-from whole --out x
expect 8 'chooses its images itself' distill --method herding --data digits --ipc 1 --init-from whole --out x
works 'kernel 10x10' kernel whole blocks --out k.safetensors --threads 1
works '"rows": 10' kernel whole --kernel myrtle --out own.safetensors --type float32 --json --threads 1
python3 - k.safetensors <<'PY' || fail 'the matrix of two equal sets is not symmetric with a large diagonal'
import json, struct, sys
b = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", b[:8])[0]
assert json.loads(b[8 : 8 + n])["kernel"]["shape"] == [10, 10]
k = struct.unpack("<100d", b[8 + n :])
assert all(abs(k[10 * i + j] - k[10 * j + i]) < 1e-4 for i in range(10) for j in range(10))
assert all(k[11 * i] >= max(k[10 * i : 10 * i + 10]) - 1e-6 for i in range(10))
PY

# a network of the pool whose numbers grow too large gives way, and its checkpoints can be gone on from
frepo="distill --method frepo --data digits --ipc 1 --net mlp:depth=4,width=64 --set schedule=100 --set pool=2 --set batch_real=300 --set lr_net=8 --set eval_repeats=0 --seed 1 --threads 1"
works 'iterations' $frepo --iterations 6 --out pool
grep -q 'a fresh one takes its place' err || fail "a network that gives way is not told: $(cat err)"
works 'iterations' $frepo --iterations 30 --out pool --resume

# label solve: no labels fit all real images better, so the gradient of kip's loss by them is nothing
mkdir real real/train && works '' distill --method random --data digits --ipc 20 --out drawn --quiet --eval-repeats 1 --eval-epochs 0 --no-baselines --net convnet:depth=1,width=8
works '' export drawn --to png --out real/train
cp -r real/train real/test
works 'LS' distill --method ls --data real --ipc 2 --seed 1 --holdout 0 --out solved --quiet --threads 1
works '' distill --method random --data real --ipc 20 --holdout 0 --out all --eval-repeats 1 --eval-epochs 0 --no-baselines --net convnet:depth=1,width=8 --quiet
# a matrix that takes long can be stopped, and is not half written
works '' distill --method random --data digits --ipc 100 --set eval_repeats=0 --out many --quiet
timeout --preserve-status -s INT 2 "$ATTAR" kernel many --kernel Myrtle-10 --memory 1 --threads 1 --out stopped.safetensors >out 2>err
[ $? = 130 ] && grep -q 'nothing is written' err && [ ! -e stopped.safetensors ] || fail "a matrix that was stopped: $(cat err)"
cat >tensors.py <<'PY'
import json, struct, sys

def read(path):
    b = open(path, "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    return {k: (v, b[8 + n :][slice(*v["data_offsets"])]) for k, v in json.loads(b[8 : 8 + n]).items()}

def write(path, tensors):
    head, body = {}, b""
    for name, (v, data) in tensors.items():
        head[name] = {"dtype": v["dtype"], "shape": v["shape"], "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)
PY
python3 - <<'PY' || fail 'sets that begin from others, or labels beside targets, are not what they should be'
from tensors import *
images = lambda d: read(d + "/set.safetensors")["images"][1]
assert images("again") == images("whole") == images("relabelled")
s = read("apart/set.safetensors")
n, (v, labels) = 10, s["labels"]
y = struct.unpack("<100f", s["targets"][1])
size = len(labels) // n
assert [int.from_bytes(labels[size * i : size * (i + 1)], "little") for i in range(n)] == [
    max(range(10), key=lambda c: y[10 * i + c]) for i in range(n)]
PY
# a kernel without biases is nothing for a black image, so that its matrix has no factor
mkdir black && cp hard/set.json black && python3 - <<'PY' || fail 'a set with a black image'
from tensors import *
s = read("hard/set.safetensors")
v, data = s["images"]
s["images"] = (v, bytes(len(data) // 10) + data[len(data) // 10 :])
write("black/set.safetensors", s)
import hashlib
sha = lambda path: hashlib.sha256(open(path, "rb").read()).hexdigest()
text = open("black/set.json").read().replace(sha("hard/set.safetensors"), sha("black/set.safetensors"))
open("black/set.json", "w").write(text)
PY
works 'has no factor' eval black --kernel fc:depth=1,b_std=0 --ridge 0
python3 - <<'PY' || fail 'the input of grad'
from tensors import *
s, real = read("solved/set.safetensors"), read("all/set.safetensors")
assert s["targets"][0]["shape"] == [20, 10] and "soft_labels" not in s
write("at.safetensors", {"syn": s["images"], "labels": s["targets"], "real": real["images"]})
hard = struct.pack("<200f", *((0.9 if c == i // 2 else -0.1) for i in range(20) for c in range(10)))
write("off.safetensors", {"syn": s["images"], "labels": (s["targets"][0], hard), "real": real["images"]})
PY
for f in at off; do
    works 'loss' grad --method kip --set labels=learned --ipc 2 --type float64 $f.safetensors $f.out --threads 1
done
python3 - <<'PY' || fail 'the gradient at solved labels is not nothing'
from tensors import *
size = lambda path: sum(x * x for x in struct.unpack("<200d", read(path)["labels"][1])) ** 0.5
print(size("at.out"), size("off.out"))
assert size("at.out") < 1e-3 * size("off.out")
PY

# features of a pool of networks in place of a kernel, students by squared error
works 'FREPO' distill --method frepo --data digits --ipc 1 --net widening:depth=1,width=8,norm=batch,init=lecun --iterations 150 --set batch_real=200 --set lr_img=0.01 --set lr_label=0.01 --seed 2 --threads 1 --quiet --eval-epochs 300 --eval-repeats 2 --out pooled
works 'targets of a regression' info pooled
works 'protocol frepo' eval pooled --repeats 1
works 'norm=none' eval pooled --repeats 1 --epochs 1 --net convnet:depth=1,width=8,norm=batch
works 'norm=instance' eval pooled --repeats 1 --epochs 1 --net convnet:depth=1,width=8,norm=instance
expect 2 'are for --protocol krr' eval pooled --kernel FC-1
# networks whose numbers become too large give way, and the run goes on
works 'FREPO' distill --method frepo --data digits --ipc 1 --net mlp:depth=8,width=64 --iterations 30 --set pool=2 --set batch_real=100 --set lr_net=1000 --eval-repeats 1 --eval-epochs 1 --no-baselines --seed 2 --threads 1 --out wild
grep -q 'a fresh one takes its place' err || fail "no network of the pool gave way: $(cat err)"
python3 - pooled/set.json <<'PY' || fail 'frepo is not above random real images'
import json, sys
with open(sys.argv[1]) as f:
    s = json.load(f)
assert s["result"]["mean"] > s["random_real"]["mean"] + 0.05, (s["result"], s["random_real"])
PY

# features of random networks in place of a kernel; the kernel judges
random="distill --method rfad --data digits --ipc 1 --net convnet:depth=1,width=16,norm=none,init=nngp --iterations 60 --set batch_real=200 --set lr_img=0.01 --set networks=2 --seed 2 --threads 1 --quiet"
works 'RFAD' $random --out random
python3 - random/set.json <<'PY' || fail 'rfad is not above random real images'
import json, sys
with open(sys.argv[1]) as f:
    s = json.load(f)
assert s["result"]["mean"] > s["random_real"]["mean"] + 0.1, (s["result"], s["random_real"])
PY
works 'matches the recorded result' eval random
works 'by another protocol' eval random --protocol rfad --epochs 200 --repeats 1
# what does not fit into memory is computed twice, to the same bits
works 'RFAD' $random --set memory=1 --set batch_real=1000 --iterations 3 --no-baselines --out twice
works 'RFAD' $random --set batch_real=1000 --iterations 3 --no-baselines --out once
cmp twice/set.safetensors once/set.safetensors || fail 'features computed twice give another set'
python3 - <<'PY' || fail 'a file with two networks'
from tensors import *
s = read("random/set.safetensors")
write("two.safetensors", {"syn": s["images"], "theta": ({"dtype": "F32", "shape": [2 * 85]}, bytes(8 * 85))})
PY
expect 2 '"theta" holds 2 networks, and networks is 8' grad --method rfad --net mlp:depth=1,width=1 --ipc 1 two.safetensors y.safetensors

works 'depth=5|7|10' kernels
expect 6 'did you mean conv?' $kip --set kernel=cnov --out x
expect 2 'at least 32 pixels a side' $kip --set kernel=conv:depth=5 --out x
expect 8 'the kernel sees images as they are' $kip --aug flip --out x
expect 2 'expected X [Y]' kernel --out x
expect 2 'needs --out' kernel whole
expect 4 'cannot be written' kernel whole --out nowhere/k.safetensors
expect 2 'needs a block' $kip --set kernel=conv:depth=0 --out x
expect 9 'predicts numbers too large or none' eval hard --kernel fc:depth=10,w_std=100000
expect 2 'cannot go there' kernel k.safetensors --out k.safetensors
expect 3 'no tensor "images"' kernel k.safetensors --out y.safetensors
[ ! -e x ] || fail 'a refused run left a folder'
finish

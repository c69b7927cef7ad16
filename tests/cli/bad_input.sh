#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Files that are not what they claim: one sentence, the documented exit status, nothing touched.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo 'skipped: python3 makes the files'; exit 77; }

python3 - <<'P'
import gzip, os, struct, zipfile, zlib, io
def idx(path, magic, dims, data):
    with open(path, "wb") as f: f.write(struct.pack(">I", magic) + b"".join(struct.pack(">I", d) for d in dims) + data)
def folder(name, n=20, images=None, labels=None, nlabels=None, magic=0x803):
    os.makedirs(name)
    for part in ("train", "t10k"):
        nl = n if nlabels is None else nlabels
        idx(f"{name}/{part}-images-idx3-ubyte", magic, (n, 8, 8), bytes(range(64)) * n if images is None else images)
        idx(f"{name}/{part}-labels-idx1-ubyte", 0x801, (nl,), bytes(i % 10 for i in range(nl)) if labels is None else labels)
folder("good")
folder("truncated", images=b"\1" * 1000)
folder("oversized", images=b"\1" * 5000)
folder("magic", magic=0x903)
folder("counts", nlabels=19)
folder("range", labels=bytes([200] * 20))
folder("empty"); open("empty/train-images-idx3-ubyte", "wb").close()
def png(path, w=8, h=8, ok=True):
    def chunk(t, d): return struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    raw = zlib.compress((b"\0" + bytes(w)) * h)
    d = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0)) + chunk(b"IDAT", raw) + chunk(b"IEND", b"")
    with open(path, "wb") as f: f.write(d if ok else d[:45])
def pictures(name):
    for part in ("train", "test"):
        for c in ("cat", "dog"):
            os.makedirs(f"{name}/{part}/{c}")
            for i in range(4): png(f"{name}/{part}/{c}/{i}.png")
pictures("pics")
pictures("pics-corrupt"); png("pics-corrupt/train/dog/2.png", ok=False)
pictures("pics-text"); open("pics-text/train/cat/1.png", "w").write("no image")
pictures("pics-empty"); open("pics-empty/train/cat/3.png", "w").close()
pictures("pics-unreadable"); os.chmod("pics-unreadable/train/cat/3.png", 0)
def npy(descr, shape, data):
    h = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)).encode()
    h += b" " * (63 - (len(h) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h + data
def npz(path, x, y, n=20):
    with zipfile.ZipFile(path, "w") as z:
        for part in ("train", "test"):
            z.writestr(f"x_{part}.npy", npy("<f4", (n, 1, 8, 8), struct.pack("<%df" % len(x), *x)))
            z.writestr(f"y_{part}.npy", npy("<i8", (len(y),), struct.pack("<%dq" % len(y), *y)))
x, y = [0.5] * 1280, [i % 10 for i in range(20)]
npz("good.npz", x, y)
npz("nan.npz", x[:700] + [float("nan")] + x[701:], y)
npz("labels.npz", x, [-1] + y[1:])
npz("count.npz", x, y[:-1])
open("text.npz", "w").write("no archive")
open("empty.npz", "w").close()
open("cut.npz", "wb").write(open("good.npz", "rb").read()[:-40])
P

for d in good pics good.npz; do works training data check $d; done
mkdir keep && echo precious >keep/file
before=$(sums .| grep -v -e ' ./out$' -e ' ./err$')
for d in truncated oversized magic counts range empty pics-corrupt pics-text pics-empty nan.npz labels.npz count.npz \
    text.npz empty.npz cut.npz; do
    expect 3 '' data check $d
    expect 3 '' distill --data $d --out keep/new --quiet
    [ ! -e keep/new ] || { fail "$d: the refused run left its folder behind"; rm -rf keep/new; }
done
[ "$(id -u)" -eq 0 ] || expect 4 '3.png' data check pics-unreadable
expect 2 '' distill --data good --ipc 5 --holdout 0 --out keep/new --quiet --iterations 1
expect 6 '' distill --data nowhere/at/all --out keep/new --quiet
after=$(sums . | grep -v -e ' ./out$' -e ' ./err$')
[ "$before" = "$after" ] || fail 'files changed'

tiny="--data digits --ipc 1 --iterations 3 --net convnet:depth=1,width=8 --eval-repeats 1 --eval-epochs 1 --threads 1 --quiet"
expect 4 '' distill $tiny --out keep/file
mkdir foreign && cp keep/file foreign/run.json && before=$(sums foreign)
"$ATTAR" distill $tiny --out foreign >out 2>err
case $? in 3 | 7) ;; *) fail "a foreign run.json: $(cat err)" ;; esac
[ "$before" = "$(sums foreign)" ] || fail 'a foreign folder was touched'

# a run that something was done to: nothing of it may be lost
works 'per class' distill $tiny --out run
expect 2 'iterations behind it' $(echo distill $tiny | sed 's/--iterations 3/--iterations 2/') --out run --resume
expect 7 'normalisation' distill $tiny --out run --resume --normalise none
expect 7 'already holds a run' distill $tiny --out run
kept=$(sums run)
export ATTAR
works 'per class' distill $tiny --out run --resume
[ "$kept" = "$(sums run)" ] || fail 'resuming a finished run changed it'
python3 - <<'P'
import fcntl, os, subprocess
f = os.open("run", os.O_RDONLY)
fcntl.flock(f, fcntl.LOCK_EX)
tiny = "--data digits --ipc 1 --iterations 3 --net convnet:depth=1,width=8 --eval-repeats 1 --eval-epochs 1 --threads 1"
p = subprocess.run([os.environ["ATTAR"], "distill", *tiny.split(), "--out", "run", "--resume"], capture_output=True)
assert p.returncode == 7 and b"another run works in run" in p.stderr, p
P
[ $? -eq 0 ] || fail 'two runs in one folder'

# damaged checkpoints: iteration -3, and numbers that are not finite; the one before it serves
for damage in iteration nan; do
    rm -rf hurt && cp -r run hurt
    DAMAGE=$damage python3 - <<'P'
import json, os, struct
p = "hurt/checkpoint/state.safetensors"
d = bytearray(open(p, "rb").read())
n = struct.unpack_from("<Q", d)[0]
h = json.loads(bytes(d[8:8 + n]))
at = lambda k: 8 + n + h[k]["data_offsets"][0]
if os.environ["DAMAGE"] == "nan": struct.pack_into("<f", d, at("images"), float("nan"))
else: struct.pack_into("<q", d, at("facts"), -3)
open(p, "wb").write(d)
P
    rm -f hurt/checkpoint/state.prev.safetensors
    expect 3 'damaged' distill $tiny --out hurt --resume
done

# names that JSON cannot hold are refused before any work
if mkdir "$(printf 'caf\351')" 2>/dev/null; then
    expect 2 'not UTF-8' distill $tiny --out "$(printf 'caf\351/run')"
    [ -z "$(ls "$(printf 'caf\351')")" ] || fail 'a refused run left its folder'
fi
expect 2 'only image folders are resized' data check digits --resize 9x9
expect 2 'class order in itself' data check digits --classes good
expect 6 'no folder' data check digits --data-dir nowhere
expect 2 'put pixels at' data check digits --normalise 0/1e-300

# what grad reads and what it does not
mkdir -p "$PWD/misspelt"
python3 - <<'P'
import json, struct
def write(path, tensors):
    head, data = {}, b""
    for name, shape, values in tensors:
        raw = struct.pack(f"<{len(values)}f", *values)
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
syn = ("syn", [2, 1, 8, 8], [0.1] * 128)
write("misspelt/lables.safetensors", [syn, ("lables", [2, 2], [1, 0, 0, 1])])
write("misspelt/target.safetensors", [syn, ("target", [1], [0])])
write("misspelt/real.safetensors", [syn, ("real", [2, 1, 8, 8], [0.1] * 128)])
write("misspelt/aug.safetensors", [syn, ("aug", [2, 16], [0] * 32)])
write("misspelt/theta.safetensors", [syn, ("theta", [1], [0])])
write("misspelt/sizes.safetensors", [syn, ("real", [2, 1, 9, 8], [0.1] * 144)])
P
grad="grad --method dc --net convnet:depth=1,width=8 --ipc 1 --threads 1"
expect 3 'did you mean labels' $grad misspelt/lables.safetensors y.safetensors
expect 2 '"target"' $grad misspelt/target.safetensors y.safetensors
expect 2 '1x9x8' $grad misspelt/sizes.safetensors y.safetensors
expect 2 'augments nothing by these options (--aug)' $grad misspelt/aug.safetensors y.safetensors
expect 2 '"real" means nothing to method mtt' grad --method mtt --net mlp --ipc 1 misspelt/real.safetensors y.safetensors
expect 2 '"theta" means nothing to method kip' grad --method kip --ipc 1 misspelt/theta.safetensors y.safetensors
[ ! -e y.safetensors ] || fail 'a refused gradient was written'
expect 6 'did you mean "labels"' distill $tiny --out other --set lables=soft
expect 8 'running statistics' experts --data digits --net convnet:depth=1,width=8,norm=batch --out other

# sets edited by hand, and exports over what is there
rm -rf other && cp -r run other && sed -i 's/attar-set-1/attar-set-99/' other/set.json
expect 3 'attar-set-99' info other
rm -rf other && cp -r run other && sed -i 's/"ipc": 1/"ipc": 7/' other/set.json
expect 3 'does not fit' info other
rm -rf other && cp -r run other
python3 - <<'P'
import json
d = json.load(open("other/set.json")); d["class_names"] = ["a"] * 10; json.dump(d, open("other/set.json", "w"))
P
expect 2 'both be written' export other --to png --out pictures
expect 7 'exists' export run --to npz --out good.npz
expect 2 'belongs to the set' export run --to png --out run
expect 2 'belongs to the set' export run --to npz --out run/set.safetensors --force
works 'images written' export run --to npz --out good.npz --force
ln -s nowhere link.npz
expect 7 'no regular file' export run --to npz --out link.npz --force
mkdir pictures && touch pictures/mine.txt
expect 7 'mine.txt' export run --to png --out pictures --force
rm pictures/mine.txt && mkdir pictures/0 && touch pictures/0/001.png
works 'images written' export run --to png --out pictures --force
[ "$(find pictures -name '*.png' | wc -l)" -eq 10 ] || fail 'pictures of another set stand among those of this one'
for v in -5 1000001 '"many"'; do
    rm -rf other && cp -r run other && sed -i "s/\"epochs\": 1/\"epochs\": $v/" other/set.json
    expect 3 'protocol.epochs' eval other
done

# runs that are not what they were
"$ATTAR" distill $tiny --out whole >/dev/null || fail 'a run failed'
cp -r whole other2 && rm other2/checkpoint/state.prev.safetensors 2>/dev/null
python3 - <<'P'
p = "other2/checkpoint/state.safetensors"
b = bytearray(open(p, "rb").read()); i = b.index(b'"data_offsets"'); n = int.from_bytes(b[:8], "little")
b[8 + n + (len(b) - 8 - n) // 2] ^= 1; open(p, "wb").write(b)
P
expect 3 'it is damaged' distill $tiny --out other2 --resume
rm -r other2/checkpoint
expect 7 'no checkpoint to go on from' distill $tiny --out other2 --resume
cmp whole/set.safetensors other2/set.safetensors || fail 'a refused resume changed the set'
rm other2/set.json
expect 6 'unfinished run' info other2
expect 2 'there is no option --frob' --frob
works Usage help help

# a full disk: a small tmpfs where that is allowed, else a limit on file size
if [ "$(id -u)" -eq 0 ] && mkdir full && mount -t tmpfs -o size=8k none full 2>/dev/null; then
    expect 4 '' distill $tiny --out full/run
    umount full
else
    (trap '' XFSZ; ulimit -f 1; exec "$ATTAR" distill $tiny --ipc 20 --out small) >/dev/null 2>err
    [ $? -eq 4 ] || fail "file size limit: $(cat err)"
    [ -z "$(find small -name '*.tmp.*' 2>/dev/null)" ] || fail 'temporary files are left'
fi
finish

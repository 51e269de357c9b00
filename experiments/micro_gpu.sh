#!/bin/bash
# Train `micro` on a machine with a GPU and nothing else than Python, torch, transformers and NumPy.
#
#   bash experiments/micro_gpu.sh OUT MINUTES PACK [options of train_nano.py, such as --start micro.safetensors]
#
# MINUTES are those of training; starting and the last validation take about one more. OUT gets the log, the averaged
# weights and, in pieces of at most 15 MB, the state to continue from (`cat state.* > last.pt`).
# With QUICK=1: a few steps of a tiny setting on the processor, to see that everything is there.
set -eu
out=$1 minutes=$2 pack=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
device=cuda settings=$here/train_micro.toml
if [ "${QUICK:-}" ]; then
  device=cpu settings=$(mktemp --suffix .toml)
  sed -E 's/^clips = .*/clips = 2/; s/^image = 256/image = 64/; s/^image = 192/image = 64/; s/^frames = 10/frames = 5/
    s/^validate_every = .*/validate_every = 0/; s/^bf16 = true/bf16 = false/' "$here/train_micro.toml" > "$settings"
fi
link=$(mktemp -d)  # datasets and evaluation as the parts of the package that they are
mkdir "$link/mosam"
ln -s "$here"/../mosam/* "$link/mosam/"
ln -sfn "$(cd "$here/../datasets" && pwd)" "$link/mosam/datasets"
ln -sfn "$(cd "$here/../evaluation" && pwd)" "$link/mosam/evaluation"
run=$(mktemp -d)/run
USER=${USER:-root} PYTHONPATH=$link PYTHONUNBUFFERED=1 python3 "$here/train_nano.py" --out "$run" \
  --settings "$settings" --pack "$pack" --device $device --minutes "$minutes" "$@" || status=$?
cp "$run"/log.jsonl "$run"/settings.json "$run"/micro.* "$out"/
split -b 15000000 -d "$run/last.pt" "$out/state."
grep validation "$run/log.jsonl" | tail -2 || true
exit "${status:-0}"

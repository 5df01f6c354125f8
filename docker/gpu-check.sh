#!/usr/bin/env bash
# Checks a machine with a GPU within ten minutes: doctor, contract tests on the GPU, figures of the GPU beside the CPU, of
# rendering and of learning. Where there is no GPU, everything runs on the CPU, and the summary says what was skipped.
# Usage: docker/gpu-check.sh [OUT]. Results lie in OUT (default: gpu-check), one log for each step and summary.txt.
# A step that cannot run (a package that cannot be installed, no GPU) is noted, and the others go on.
# PYTHON chooses the interpreter; VENV an environment that is ready already, which is then used as it is.
set -u
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-gpu-check}" && cd "${1:-gpu-check}" && pwd)
began=$SECONDS
: > "$out/summary.txt"

step() { # step NAME SECONDS COMMAND...
    local name=$1 limit=$2 left=$((590 - SECONDS + began)) status start=$SECONDS
    shift 2
    [ "$left" -lt "$limit" ] && limit=$left
    if [ "$limit" -lt 5 ]; then
        echo "not begun  $name (no time is left)" >> "$out/summary.txt"
        return 1
    fi
    timeout "$limit" "$@" > "$out/$name.log" 2>&1
    status=$?
    if [ $status = 0 ]; then echo "ok         $name ($((SECONDS - start)) s)"; else
        echo "failed     $name ($((SECONDS - start)) s, status $status): $(tail -n 1 "$out/$name.log" | cut -c 1-160)"
    fi >> "$out/summary.txt"
    return $status
}

skip() { # skip NAME REASON
    echo "skipped    $1 ($2)" >> "$out/summary.txt"
}

if [ -z "${VENV:-}" ]; then
    VENV=$out/venv
    python=${PYTHON:-python3.11}
    version=$("$python" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
    constraints=constraints.txt
    [ "$version" = 3.11 ] || constraints=constraints-3.13.txt
    step venv 60 "$python" -m venv "$VENV"
    step install-render 240 "$VENV/bin/pip" install --constraint $constraints --editable '.[render]' pytest pytest-timeout
    step install-trainer 240 "$VENV/bin/pip" install --constraint $constraints --editable '.[trainer]'
fi
if command -v nvidia-smi > /dev/null; then step smi 20 nvidia-smi; else skip smi "there is no NVIDIA driver"; fi
step device 120 "$VENV/bin/python" -m render_server.engines.blender.device auto
kind=$(sed -n 's/^{"device": {"kind": "\([a-z]*\)".*/\1/p' "$out/device.log" | tail -n 1)
kind=${kind:-cpu}
echo "device     $kind" >> "$out/summary.txt"
[ "$kind" != cpu ] || skip gpu "Blender finds no GPU here: all that follows runs on the CPU"
step doctor 120 "$VENV/bin/metasim" doctor
METASIM_TEST_DEVICE=$kind step contract 300 "$VENV/bin/pytest" -q -x tests/contract/test_device.py \
    tests/contract/test_purity.py tests/contract/test_regions.py tests/contract/test_glb_files.py
network=$("$VENV/bin/python" -c "
import torch
print('cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu')" 2> /dev/null)
if [ -z "$network" ]; then skip learning "PyTorch is not installed"; else
    [ "$network" != cpu ] || skip learning-on-gpu "PyTorch finds no GPU here"
    step learning 150 "$VENV/bin/metasim" bench train mnist-rot --engine raster --workers 1 --seeds 1 \
        --device "$([ "$network" = cpu ] || echo "$network,")cpu" training.start=infer training.epochs=1 \
        training.steps=2 training.pretraining_steps=40 training.inference.simulations=200 \
        training.inference.rounds=1 training.inference.transport_passes=5
    METASIM_TEST_NETWORK=${network#cpu} step networks 150 "$VENV/bin/pytest" -q tests/trainer/test_network_device.py
fi
for device in cpu $([ "$kind" = cpu ] || echo "$kind"); do
    step "bench-$device" 100 "$VENV/bin/python" docker/gpu_bench.py "$device"
done
cat "$out/summary.txt"
for log in "$out"/bench-*.log; do [ -e "$log" ] && tail -n 1 "$log"; done
! grep -q '^failed' "$out/summary.txt"

#!/usr/bin/env bash
# Checks a machine with a GPU within ten minutes: doctor, contract tests on the GPU, figures of the GPU beside the CPU.
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

if [ -z "${VENV:-}" ]; then
    VENV=$out/venv
    version=$("${PYTHON:-python3.11}" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
    constraints=constraints.txt
    [ "$version" = 3.11 ] || constraints=constraints-3.13.txt
    step venv 60 "${PYTHON:-python3.11}" -m venv "$VENV"
    step install-render 240 "$VENV/bin/pip" install --constraint $constraints --editable '.[render]' pytest pytest-timeout
    step install-trainer 240 "$VENV/bin/pip" install --constraint $constraints --editable '.[trainer]'
fi
step smi 20 nvidia-smi
step device 120 "$VENV/bin/python" -m render_server.engines.blender.device auto
kind=$(sed -n 's/^{"device": {"kind": "\([a-z]*\)".*/\1/p' "$out/device.log" | tail -n 1)
kind=${kind:-cpu}
echo "device     $kind" >> "$out/summary.txt"
step doctor 120 "$VENV/bin/metasim" doctor
METASIM_TEST_DEVICE=$kind step contract 300 "$VENV/bin/pytest" -q -x tests/contract/test_device.py \
    tests/contract/test_purity.py tests/contract/test_regions.py tests/contract/test_glb_files.py
for device in cpu $([ "$kind" = cpu ] || echo "$kind"); do
    step "bench-$device" 100 "$VENV/bin/python" docker/gpu_bench.py "$device"
done
cat "$out/summary.txt"
for log in "$out"/bench-*.log; do [ -e "$log" ] && tail -n 1 "$log"; done
! grep -q '^failed' "$out/summary.txt"

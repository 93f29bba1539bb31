#!/usr/bin/env bash
# What is to be measured on a GPU, in one go: builds against a CUDA LibTorch, runs the tests, holds a tuned model's paths
# together, then the benchmarks. OUTPUT gets a log for each job, figures.md and verdict.txt (bench/gpu_verdict.py: training
# at 45% of the GPU's products, writing at 70% of its memory, the recipe in 10 minutes). Ends with 1 where a job failed, 3
# where all went well and a bar is not met.
#   bench/gpu.sh --model MODEL --data RTE [--t0 FOLDER] [--output build/gpu]
#   bench/gpu.sh --dry-run --model MODEL --data RTE [--build build/dev] …   the same jobs at small sizes on the CPU, with what
#                                                                           is built there; its bars are no failure
# MODEL: a safetensors folder of about a billion parameters; RTE: a file of the task rte; FOLDER: a model of T0-11B's shape
# (bench/make_t0_3b.py --size 11b). CMAKE_PREFIX_PATH names the CUDA LibTorch. The command is told the device; the tests
# and mixed_batch take what its default is.
set -uo pipefail
house=$(cd "$(dirname "$0")/.." && pwd)

dry=no
model='' data='' t0='' build='' output=$house/build/gpu
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry=yes; shift; continue ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --model | --data | --t0 | --build | --output) ;;
    *) echo "gpu.sh: unknown option '$1'; known: --dry-run --model --data --t0 --build --output --help" >&2; exit 2 ;;
  esac
  if [ $# -lt 2 ]; then echo "gpu.sh: $1 needs a value" >&2; exit 2; fi
  declare "${1#--}=$2"
  shift 2
done
if [ -z "$model" ] || [ -z "$data" ]; then echo "gpu.sh: give --model and --data; see --help" >&2; exit 2; fi
if [ $dry = no ] && [ -n "$build" ]; then echo "gpu.sh: --build is of --dry-run; the GPU's build is made here" >&2; exit 2; fi

# The same list of jobs, in full and small.
preset=cuda device=cuda seconds=120 steps=1000 tuned=30 batch=(64 16 9) tests='*'
if [ $dry = yes ]; then preset=dev device=cpu seconds=1 steps=2 tuned=3 batch=(4 8 3) tests='Roofline.*:Bench.ABase*'; fi
build=${build:-$house/build/$preset}
graft=$build/bin/graft
mkdir -p "$output"
rm -rf "$output"/bench{,_t0}.json "$output/run-t0"  # of an earlier run: the verdict is of this one
failed=() missed=no

job() {  # job NAME command…: its output goes to NAME.log
  local name=$1 began=$SECONDS
  shift
  if "$@" >"$output/$name.log" 2>&1; then
    echo "gpu.sh: $name: $((SECONDS - began)) s"
    return 0
  fi
  echo "gpu.sh: $name: FAILED after $((SECONDS - began)) s; the end of $output/$name.log:"
  tail -n 20 "$output/$name.log" | sed 's/^/  /'
  failed+=("$name")
  return 1
}

build_it() (  # a shell of its own: the folder stays
  if [ $dry = yes ]; then test -x "$graft" || { echo "$graft is not built; ./setup builds it"; exit 1; }; exit 0; fi
  nvidia-smi && cd "$house" && cmake --preset cuda -DGRAFT_BENCH=ON && cmake --build --preset cuda -j"$(nproc)"
)

# Nothing that follows is of a GPU where LibTorch does not see it.
sees_device() {
  "$graft" --quiet bench --device $device --model "$model" --only machine --seconds 2 --json | tee "$output/machine.json" &&
    grep -q "\"device\": \"$device" "$output/machine.json"
}

tune() {  # tune MODEL RUN STEPS RECIPE
  rm -rf "$2"
  "$graft" --quiet tune --model "$1" --task rte --data "$data" --shots 16 --eval-rows 32 --recipe "$4" --steps "$3" \
    --set data.template=0 --set train.precision=bfloat16 --device $device --output "$2"
}

bench() {  # bench NAME arguments…
  local name=$1
  shift
  "$graft" --quiet bench --device $device --seconds $seconds --json "$@" | tee "$output/$name.json"
}

figures() {
  python3 - "$output" >"$output/figures.md" <<'PYTHON'
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
print("| job | work | median | seconds | of the limit | bound by | peak memory of the host |")
print("| --- | --- | --- | --- | --- | --- | --- |")
for file in sorted(out.glob("bench*.json")):
    for row in json.loads(file.read_text())["rows"]:
        if not row["repetitions"]:
            continue
        rates = ", ".join(f"{rate['median']:.4g} {unit}/s" for unit, rate in row["per_second"].items())
        print(f"| {file.stem} | {row['what']} | {rates} | {row['seconds']['median']:.3g} | {row['share_of_limit']:.0%} | "
              f"{row['bound']} | {row['peak_memory_bytes'] / 2**20:.0f} MiB |")
for summary in sorted(out.glob("run*/summary.json")):
    it = json.loads(summary.read_text())
    print(f"\n{summary.parent.name}: {it['steps']} steps in {it['train_seconds']:.1f} s")
PYTHON
}

# Worked out in a dry run too, where not to reach a bar is no failure.
verdict() {
  local status=0 gpu=()
  if [ $dry = no ]; then gpu=(--gpu "$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)"); fi
  python3 "$house/bench/gpu_verdict.py" "$output" "${gpu[@]}" >"$output/verdict.txt" 2>&1 || status=$?
  sed 's/^/gpu.sh: /' "$output/verdict.txt"
  case $status in
    0) ;;
    3) missed=yes ;;
    *) failed+=(verdict) ;;
  esac
}

if job build build_it && job device sees_device; then
  job engine_tests "$build/graft_engine_tests" --gtest_brief=1 --gtest_filter="$tests"
  job command_tests "$build/graft_e2e_tests" --gtest_brief=1 --gtest_filter="$tests"  # these compute on the device
  job tune tune "$model" "$output/run" $tuned tfew-cpu && job verify "$graft" verify --run "$output/run" --device $device
  job bench bench bench --model "$model" --weights dense
  if [ $dry = no ] || [ -x "$build/bench/bench_mixed_batch" ]; then
    job mixed_batch "$build/bench/bench_mixed_batch" "$model" "${batch[@]}"
  else
    echo "gpu.sh: mixed_batch is left out: $build was configured without GRAFT_BENCH"
  fi
  if [ -n "$t0" ]; then
    job bench_t0 bench bench_t0 --model "$t0" --only ia3,score --task rte --data "$data" --recipe tfew
    job tune_t0 tune "$t0" "$output/run-t0" $steps tfew
  else
    echo "gpu.sh: no --t0: the recipe at T0-11B's shape is left out"
  fi
  job figures figures
  cat "$output/figures.md"
  verdict
fi
if [ ${#failed[@]} -gt 0 ]; then
  echo "gpu.sh: failed: ${failed[*]}"
  exit 1
fi
if [ $dry = no ] && [ $missed = yes ]; then exit 3; fi

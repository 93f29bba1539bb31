// What the benchmarks that have a bar say of it, and how they end, on figures that are made up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/file.h"
#include "shell.h"
#include "stand_ins.h"

namespace graft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string script(const std::string& name) {
  return "python3 -B '" + std::string(GRAFT_SOURCE_DIR) + "/bench/" + name + "' ";
}

class GpuVerdict : public TestFolder {
 protected:
  // A machine of 100 TFLOP/s and 1000 GB/s; rows of 1 s that take these shares of it.
  void bench(double trained, double read) const {
    const std::string seconds = R"("repetitions": 3, "seconds": {"median": 1.0}, )";
    write_file(
        folder() / "bench.json",
        R"({"dtype": "bfloat16", "machine": {"bfloat16_flops": {"median": 100e12}, "read_bytes": {"median": 1e12}},
                   "rows": [{"name": "ia3", "what": "(IA)3 step", )" +
            seconds + "\"flops\": " + std::to_string(trained * 100e12) +
            R"(, "bytes_read": 1}, {"name": "full", "repetitions": 0},
                   {"name": "decode_1", "what": "write one text", )" +
            seconds + "\"flops\": 1, \"bytes_read\": " + std::to_string(read * 1e12) + "}]}");
  }
  void recipe(double minutes) const {
    write_file(folder() / "run-t0/summary.json",
               "{\"steps\": 100, \"train_seconds\": " + std::to_string(minutes * 6) + "}");
  }
  std::string verdict(int status, const std::string& more = "") const {
    return printed_by(script("gpu_verdict.py") + "'" + folder().string() + "' " + more, status);
  }
};

TEST_F(GpuVerdict, BarsThatAreReachedAreMet) {
  bench(0.46, 0.71);
  recipe(9.9);
  const std::string told = verdict(0);
  EXPECT_THAT(told, HasSubstr("training: bench, (IA)3 step: 46.0% of 100 TFLOP/s (measured), asked: 45%, met"));
  EXPECT_THAT(told, HasSubstr("writing: bench, write one text: 71.0% of 1000 GB/s (measured), asked: 70%, met"));
  EXPECT_THAT(told, HasSubstr("recipe: 1,000 steps, from 100: 9.9 minutes, asked: 10, met"));
}

TEST_F(GpuVerdict, OneThatIsNotReachedIsToldAndIsTheStatus) {
  recipe(9);
  bench(0.44, 0.71);
  EXPECT_THAT(verdict(3), HasSubstr("44.0% of 100 TFLOP/s (measured), asked: 45%, NOT met"));
  bench(0.46, 0.69);
  EXPECT_THAT(verdict(3), HasSubstr("69.0% of 1000 GB/s (measured), asked: 70%, NOT met"));
  bench(0.46, 0.71);
  recipe(10.1);
  EXPECT_THAT(verdict(3), HasSubstr("10.1 minutes, asked: 10, NOT met"));
}

// A GPU's own rates are higher than what products of the model's shapes reach.
TEST_F(GpuVerdict, AGpuThatIsKnownIsHeldToItsDataSheet) {
  bench(0.9, 0.9);
  const std::string told = verdict(3, "--gpu 'NVIDIA H100 80GB HBM3'");
  EXPECT_THAT(told, HasSubstr("9.1% of 989 TFLOP/s (data sheet), asked: 45%, NOT met"));
  EXPECT_THAT(told, HasSubstr("26.9% of 3350 GB/s (data sheet), asked: 70%, NOT met"));
  EXPECT_THAT(told, HasSubstr("recipe: not measured"));
  verdict(0, "--gpu 'Some other GPU'");
  for (const char* kin : {"NVIDIA H200 NVL", "NVIDIA GH200 480GB"})  // with other rates than an H200
    EXPECT_THAT(verdict(0, "--gpu '" + std::string(kin) + "'"), HasSubstr("90.0% of 100 TFLOP/s (measured)")) << kin;
}

TEST_F(GpuVerdict, ABarOfWhichNothingWasMeasuredIsNotMet) {
  recipe(9);
  const std::string nothing = verdict(3);
  EXPECT_THAT(nothing, HasSubstr("training: not measured: no row of it in "));
  EXPECT_THAT(nothing, HasSubstr("writing: not measured: no row of it in "));
  write_file(
      folder() / "bench.json",
      R"({"dtype": "bfloat16", "machine": {"bfloat16_flops": {"median": 100e12}, "read_bytes": {"median": 1e12}}, "rows":
                 [{"name": "lora", "what": "LoRA step", "repetitions": 3, "seconds": {"median": 1}, "flops": 50e12},
                  {"name": "decode_1", "repetitions": 0}]})");
  const std::string told = verdict(3);
  EXPECT_THAT(told, HasSubstr("training: bench, LoRA step: 50.0% of 100 TFLOP/s (measured), asked: 45%, met"));
  EXPECT_THAT(told, HasSubstr("writing: not measured: "));
  EXPECT_THAT(told, HasSubstr("recipe: 1,000 steps, from 100: 9.0 minutes, asked: 10, met"));
}

TEST_F(GpuVerdict, AFolderWithoutFiguresIsAFailure) {
  const std::string told = verdict(1);
  EXPECT_THAT(told, HasSubstr("holds no figure of bench/gpu.sh"));
  EXPECT_THAT(told, Not(HasSubstr("Traceback")));
}

// Plans 10 s of training, 4 s of scoring and 1000 bytes for every job; training then takes $TOOK seconds. The run
// itself says $SAYS of its memory.
constexpr const char* kPlanner = R"sh(for last; do :; done
if [ "$2" = plan ]; then
  echo '{"train_seconds": 10, "evaluate_seconds": 2, "evaluations": 2, "memory_bytes": 1000}'
else
  mkdir -p "$last"
  echo "estimate: about 10.0s of training and $SAYS of memory, if it goes on as it began" >&2
  echo "{\"train_seconds\": $TOOK, \"peak_memory_bytes\": 1000, \"before\": {\"seconds\": 2}, \"after\": {\"seconds\": 2}}" \
    >"$last/summary.json"
fi)sh";

class PlanScript : public StandIns {
 protected:
  void SetUp() override { stand_in("graft", kPlanner); }
  std::string run(const std::string& took, int status, const std::string& says = "about 1.10 kB") const {
    return printed_by("SAYS='" + says + "' TOOK=" + took + " " + script("plan.py") +
                          "--model m --bbc b --tfew t --e2e e --graft '" + (folder() / "graft").string() + "'",
                      status);
  }
};

TEST_F(PlanScript, PlansThatComeTrueAreMet) {
  const std::string told = run("11", 0);
  EXPECT_THAT(told, HasSubstr("training  planned    10.0 s, then    11.0 s: -9.1%, met"));
  EXPECT_THAT(told, HasSubstr("estimate  planned     0 MiB, then     0 MiB: +10.0%, met"));
  EXPECT_THAT(told, HasSubstr("all within 15%"));
  EXPECT_THAT(told, Not(HasSubstr("NOT met")));
  EXPECT_THAT(run("11", 1, "at most 3.31 kB"), HasSubstr("(IA)3, five topics, estimate: +231.0%"));
}

TEST_F(PlanScript, OneThatIsTooFarOffIsTheStatus) {
  const std::string told = run("8", 1);
  EXPECT_THAT(told, HasSubstr("then     8.0 s: +25.0%, NOT met"));
  EXPECT_THAT(told, HasSubstr("plan.py: more than 15% off: (IA)3, five topics, training: +25.0%; LoRA, entailment"));
  EXPECT_THAT(told, Not(HasSubstr("all within")));
}

// A token each: graft's is " Paris".
class LoadScript : public StandIns {
 protected:
  void SetUp() override {
    stand_in("graft", R"sh(case "$*" in
  *--json*) echo '{"prompt_ids": [1, 2], "text": " Paris"}' ;;
  *) echo Paris ;;
esac)sh");
    stand_in("peer", R"sh(cat <<END
{"text": "$WRITES", "seconds": 0.5, "memory_bytes": 1}
END)sh");
  }
  // Ends with 1 in any case: the stand-in takes more than a byte of memory.
  std::string run(const std::string& peer_writes) const {
    return printed_by("WRITES='" + peer_writes + "' " + script("load.py") + "--model m --rounds 1 --graft '" +
                          (folder() / "graft").string() + "' --peer-python '" + (folder() / "peer").string() + "'",
                      1);
  }
};

TEST_F(LoadScript, OfTheSameTokenBothTimesAreTold) {
  const std::string told = run(" Paris");
  EXPECT_THAT(told, HasSubstr("first token: graft "));
  EXPECT_THAT(told, HasSubstr("MiB resident (bar: below the peer's 0 MiB)"));
}

TEST_F(LoadScript, OfAnotherTokenNoneIs) {
  const std::string told = run(" London");
  EXPECT_THAT(told, HasSubstr("load.py: behind the same ids graft writes ' Paris' and the peer ' London'"));
  EXPECT_THAT(told, Not(HasSubstr("first token:")));
}

// graft writes twice as fast as the peer, at a loss of $LOSS beside 0.2.
class DecodeScript : public StandIns {
 protected:
  void SetUp() override {
    stand_in("graft", R"sh(case "$*" in
  *generate*) echo '{"prompt_ids": [1, 2, 3]}' ;;
  *) echo '{"rows": []}' ;;
esac)sh");
    stand_in("bench", R"sh(cat <<END
{"load": 0.1, "loss": $LOSS, "prefill": [200], "decode_1": [20], "decode_16": [100], "peak_memory_bytes": 1000}
END)sh");
    stand_in("peer", R"sh(echo '{"load": 0.1, "loss": 0.2, "prefill": [100], "decode_1": [10], "decode_16": [50],' \
  '"text": [4], "peak_memory_bytes": 1000}')sh");
  }
  std::string run(const std::string& loss, int status) const {
    const auto at = [this](const std::string& name) { return "'" + (folder() / name).string() + "'"; };
    return printed_by("LOSS=" + loss + " " + script("decode.py") + "--model m.Q4_0.gguf --types Q4_0 --graft " +
                          at("graft") + " --bench " + at("bench") + " --peer-python " + at("peer") + " --work " +
                          at("."),
                      status);
  }
};

TEST_F(DecodeScript, AtEqualQualityRatesAreTold) {
  const std::string told = run("0.205", 0);
  EXPECT_THAT(told, HasSubstr("Q4_0: loss 0.2050, 0.2000"));
  EXPECT_THAT(told,
              HasSubstr("Q4_0, writing one text: graft 20 (20 to 20), peer 10 (10 to 10) tokens a second: 2.00x"));
  EXPECT_THAT(told,
              HasSubstr("Q4_0, writing 16 texts: graft 100 (100 to 100), peer 50 (50 to 50) tokens a second: 2.00x"));
  EXPECT_THAT(told, HasSubstr("; asked: 2x, met"));
  EXPECT_THAT(told,
              HasSubstr("4 bits, writing one text, the best file of each: graft 20 (20 to 20), peer 10 (10 to 10) "
                        "tokens a second: 2.00x; asked: 2.5x, NOT met"));
}

TEST_F(DecodeScript, AtAWorseOneNoneAre) {
  const std::string told = run("0.215", 1);
  EXPECT_THAT(told, HasSubstr("decode.py: not at equal quality: Q4_0: graft's loss is 0.0150 above llama.cpp's"));
  EXPECT_THAT(told, Not(HasSubstr("tokens a second")));
}

}  // namespace
}  // namespace graft

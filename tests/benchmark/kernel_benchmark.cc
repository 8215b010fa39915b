// Kernels of the CPU backend beside a shaped copy, on the same cores, in the same run, turn by turn. `share` is the
// copy's time over the kernel's: 1 is the memory's speed. Prints a Markdown table.
//
//   kernel_benchmark [--target=avx512] [--preset=bnb-nf4] [--mebibytes=128] [--rounds=9] [--threads=1]
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/kernel_table.h"
#include "tests/benchmark/shaped_copy.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

struct Options {
  std::string target;
  std::string preset;
  uint64_t mebibytes = 128;  // of values: beyond the caches
  int rounds = 9;
  unsigned threads = 1;
};

constexpr uint64_t kColumns = 4096;

// One thread's tensor, in both directions.
class Workload {
 public:
  Workload(Backend& backend, const std::string& preset, DataType dtype, uint64_t value_bytes)
      : backend_(backend), dtype_(dtype), shape_{value_bytes / SizeBytes(dtype) / kColumns, kColumns} {
    quantize_ = MakeOnePass(preset, shape_);
    dequantize_ = PlanOrDie(FullyResolved(quantize_.scheme), Direction::kDequantize, dtype, shape_);
    parameters_ = ParametersOf(quantize_, {}, 0);
    FillValues();
    for (const SegmentLayout& segment : quantize_.passes[0].outputs) {
      const bool whole = segment.whole_tensor();
      segments_[segment.name] = whole ? WholeTensorBytes(quantize_, segment, parameters_) : Bytes(segment.bytes);
      segments_[segment.name].resize(segment.bytes + 8);  // a shaped copy may write 8 bytes of scales at once
    }
    decoded_.resize(values_.size());
  }

  const Plan& plan() const { return quantize_; }
  uint64_t value_bytes() const { return values_.size(); }

  void Encode() {
    UnitBatch batch{.end_unit = quantize_.unit_count(), .parameters = parameters_};
    batch.inputs[0] = values_.data();
    for (size_t i = 0; i < quantize_.passes[0].outputs.size(); ++i) {
      batch.outputs[i] = segments_.at(quantize_.passes[0].outputs[i].name).data();
    }
    RunOrDie(quantize_, batch);
  }

  void Decode() {
    UnitBatch batch{.end_unit = dequantize_.unit_count()};
    batch.outputs[0] = decoded_.data();
    for (size_t i = 0; i < dequantize_.passes[0].inputs.size(); ++i) {
      batch.inputs[i] = segments_.at(dequantize_.passes[0].inputs[i].name).data();
    }
    RunOrDie(dequantize_, batch);
  }

  bool CanCopy() const { return EncodeShapedCopy(SizeBytes(dtype_), CodeBits()) != nullptr && segments_.contains("codes"); }
  void CopyEncode() { Copy(EncodeShapedCopy(SizeBytes(dtype_), CodeBits()), values_); }
  void CopyDecode() { Copy(DecodeShapedCopy(SizeBytes(dtype_), CodeBits()), decoded_); }

  // The first rows are what the scalar code makes of them, there and back. After Encode and Decode.
  bool Verify() const {
    const auto scalar = MakeCpuBackend(kBaselineKernels);
    const uint64_t rows = std::min<uint64_t>(shape_[0], 128);
    const Plan plan = MakeOnePass(quantize_.scheme.preset, {rows, kColumns});
    const Bytes head(values_.begin(), values_.begin() + static_cast<std::ptrdiff_t>(rows * kColumns * SizeBytes(dtype_)));
    const TensorRun expected = RunTensor(*scalar, plan, {{"values", head}});
    for (const SegmentLayout& segment : plan.passes[0].outputs) {
      if (segment.whole_tensor()) continue;
      if (std::memcmp(expected.outputs.at(segment.name).data(), segments_.at(segment.name).data(), segment.bytes) != 0) {
        return false;
      }
    }
    const Plan back = PlanOrDie(FullyResolved(plan.scheme), Direction::kDequantize, dtype_, {rows, kColumns});
    const Bytes decoded = RunTensor(*scalar, back, expected.outputs).outputs.at("values");
    return std::memcmp(decoded.data(), decoded_.data(), decoded.size()) == 0;
  }

 private:
  uint32_t CodeBits() const { return static_cast<uint32_t>(InfoOf(quantize_.recipe.element).bits); }

  Plan MakeOnePass(const std::string& preset, const std::vector<uint64_t>& shape) const {
    const Plan plan = PlanOrDie({preset, {}, 0}, Direction::kQuantize, dtype_, shape);
    return plan.NeedsRange() ? PlanOrDie({preset, {}, 0}, Direction::kQuantize, dtype_, shape, {.amax = 6.0f}) : plan;
  }

  // Normally distributed; the first MiB again and again, because only the arithmetic must not be able to guess.
  void FillValues() {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> some(1 << 18);
    for (float& value : some) value = std::clamp(normal(random), -6.0f, 6.0f);
    const Bytes part = Narrowed(some, dtype_);
    values_.resize(shape_[0] * kColumns * SizeBytes(dtype_));
    for (size_t begin = 0; begin < values_.size(); begin += part.size()) {
      std::copy_n(part.begin(), std::min(part.size(), values_.size() - begin), values_.begin() + static_cast<std::ptrdiff_t>(begin));
    }
  }

  void RunOrDie(const Plan& plan, const UnitBatch& batch) {
    const std::atomic<bool> cancelled = false;
    if (!backend_.Run(plan, batch, cancelled).ok()) std::abort();
  }

  void Copy(CopyFunction copy, Bytes& values) {
    const auto scales = segments_.find("scales");
    // The few scales of tiles and tensors count for nothing.
    const bool per_run = quantize_.HasScalePerRun() && quantize_.scheme.grouping != Grouping::kTile;
    const uint64_t block = per_run ? std::max<uint64_t>(quantize_.run_elements, 64) : kColumns;
    const uint64_t scale_bytes = per_run ? block / quantize_.run_elements * SizeBytes(quantize_.recipe.scale_dtype) : 0;
    Bytes none(8);
    copy({quantize_.element_count, block, scale_bytes}, values.data(), segments_.at("codes").data(),
         scale_bytes == 0 ? none.data() : scales->second.data());
  }

  Backend& backend_;
  DataType dtype_;
  std::vector<uint64_t> shape_;
  Plan quantize_;
  Plan dequantize_;
  TensorParameters parameters_;
  Bytes values_;
  SegmentBytes segments_;
  Bytes decoded_;
};

double Now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Processor time of one thread, because what else runs on the machine is not the kernel's fault; of several, wall time.
template <class Function>
double Seconds(std::vector<Workload>& work, Function function) {
  const clockid_t clock = work.size() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  const double begin = Now(clock);
  std::vector<std::thread> others;
  for (size_t i = 1; i < work.size(); ++i) others.emplace_back([&, i] { function(work[i]); });
  function(work[0]);
  for (std::thread& other : others) other.join();
  return Now(clock) - begin;
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Result {
  double values_gb_s = 0;
  double share = 0;
};

template <class Kernel, class Copy>
Result Compare(std::vector<Workload>& work, int rounds, Kernel kernel, Copy copy) {
  std::vector<double> kernel_s;
  std::vector<double> copy_s;
  for (int round = 0; round <= rounds; ++round) {
    const double copied = work[0].CanCopy() ? Seconds(work, copy) : 0;
    const double computed = Seconds(work, kernel);
    if (round == 0) continue;  // pages and caches
    copy_s.push_back(copied);
    kernel_s.push_back(computed);
  }
  const double bytes = static_cast<double>(work[0].value_bytes()) * static_cast<double>(work.size());
  return {bytes / Median(kernel_s) / 1e9, Median(copy_s) / Median(kernel_s)};
}

bool Measure(const Options& options, const std::string& target, const std::string& preset, DataType dtype) {
  const auto backend = MakeCpuBackend(std::string_view(target)).value();
  std::vector<Workload> work;
  for (unsigned i = 0; i < options.threads; ++i) work.emplace_back(*backend, preset, dtype, options.mebibytes << 20);
  const Result encode = Compare(work, options.rounds, [](Workload& w) { w.Encode(); }, [](Workload& w) { w.CopyEncode(); });
  for (Workload& w : work) w.Encode();  // the copy has overwritten the codes
  const Result decode = Compare(work, options.rounds, [](Workload& w) { w.Decode(); }, [](Workload& w) { w.CopyDecode(); });
  for (Workload& w : work) {
    w.Encode();
    w.Decode();
    if (!w.Verify()) {
      std::fprintf(stderr, "%s on %s: wrong bytes\n", preset.c_str(), target.c_str());
      return false;
    }
  }
  std::printf("| %s | %s | %s | %.1f | %.2f | %.1f | %.2f |\n", target.c_str(), preset.c_str(),
              std::string(InfoOf(dtype).name).c_str(), encode.values_gb_s, encode.share, decode.values_gb_s, decode.share);
  std::fflush(stdout);
  return true;
}

bool ReadOption(const std::string& argument, const std::string& name, std::string& value) {
  if (!argument.starts_with("--" + name + "=")) return false;
  value = argument.substr(name.size() + 3);
  return true;
}

bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    std::string number;
    if (ReadOption(argv[i], "target", options.target) || ReadOption(argv[i], "preset", options.preset)) continue;
    if (ReadOption(argv[i], "mebibytes", number)) {
      options.mebibytes = std::stoull(number);
    } else if (ReadOption(argv[i], "rounds", number)) {
      options.rounds = std::stoi(number);
    } else if (ReadOption(argv[i], "threads", number)) {
      options.threads = static_cast<unsigned>(std::stoul(number));
    } else {
      return false;
    }
  }
  return options.mebibytes > 0 && options.rounds > 0 && options.threads > 0;
}

}  // namespace

int RunAll(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "usage: kernel_benchmark [--target=NAME] [--preset=NAME] [--mebibytes=128] [--rounds=9] [--threads=1]\n");
    return 2;
  }
  std::printf("| target | preset | values | encode, GB/s | share | decode, GB/s | share |\n|---|---|---|---|---|---|---|\n");
  for (const std::string& target : CpuTargets()) {
    if (!options.target.empty() && target != options.target) continue;
    for (const PresetInfo& preset : AllPresets()) {
      if (!options.preset.empty() && preset.name != options.preset) continue;
      for (const DataType dtype : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
        if (!Measure(options, target, preset.name, dtype)) return 1;
      }
    }
  }
  return 0;
}

}  // namespace quantd::testing

int main(int argc, char** argv) { return quantd::testing::RunAll(argc, argv); }

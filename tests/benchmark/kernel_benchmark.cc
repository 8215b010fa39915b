// Kernels of the CPU backend beside a shaped copy: a loop with the same reads and writes and no arithmetic, on the same
// core, in the same run, iteration by iteration. `ratio` is the copy's time over the kernel's: 1 is the memory's speed.
#include <benchmark/benchmark.h>

#include <time.h>

#include <cstring>
#include <random>

#include "kernels/cpu/kernel_table.h"
#include "tests/support/reference_quantizer.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

constexpr uint32_t kBlockSize = 64;
constexpr size_t kPackedBytes = kBlockSize / 2;

// What encoding a block touches: all its values are read, its codes and its scale written.
template <size_t kValueBytes>
[[gnu::always_inline]] inline void CopyEncodeShape(const std::byte* values, uint64_t blocks, std::byte* codes,
                                                   std::byte* scales) {
  for (uint64_t block = 0; block < blocks; ++block) {
    std::byte packed[kPackedBytes] = {};
    for (size_t part = 0; part < kValueBytes * 2; ++part) {
      for (size_t i = 0; i < kPackedBytes; ++i) packed[i] |= values[part * kPackedBytes + i];
    }
    std::memcpy(codes, packed, kPackedBytes);
    std::memcpy(scales, packed, sizeof(float));
    values += kBlockSize * kValueBytes;
    codes += kPackedBytes;
    scales += sizeof(float);
  }
}

template <size_t kValueBytes>
[[gnu::always_inline]] inline void CopyDecodeShape(const std::byte* codes, const std::byte* scales, uint64_t blocks,
                                                   std::byte* values) {
  for (uint64_t block = 0; block < blocks; ++block) {
    using Register [[gnu::vector_size(kPackedBytes)]] = uint32_t;  // a byte put in between would cost a store forward
    Register packed;
    uint32_t scale = 0;
    std::memcpy(&packed, codes, kPackedBytes);
    std::memcpy(&scale, scales, sizeof(scale));
    packed |= scale;
    for (size_t part = 0; part < kValueBytes * 2; ++part) {
      std::memcpy(values + part * kPackedBytes, &packed, kPackedBytes);
    }
    values += kBlockSize * kValueBytes;
    codes += kPackedBytes;
    scales += sizeof(float);
  }
}

// The copy may use what the kernels may.
#define QUANTD_ALL_TARGETS [[gnu::target_clones("default", "avx2", "arch=skylake-avx512"), gnu::noinline]]
QUANTD_ALL_TARGETS void CopyEncode4(const std::byte* in, uint64_t blocks, std::byte* codes, std::byte* scales) {
  CopyEncodeShape<4>(in, blocks, codes, scales);
}
QUANTD_ALL_TARGETS void CopyEncode2(const std::byte* in, uint64_t blocks, std::byte* codes, std::byte* scales) {
  CopyEncodeShape<2>(in, blocks, codes, scales);
}
QUANTD_ALL_TARGETS void CopyDecode4(const std::byte* codes, const std::byte* scales, uint64_t blocks, std::byte* out) {
  CopyDecodeShape<4>(codes, scales, blocks, out);
}
QUANTD_ALL_TARGETS void CopyDecode2(const std::byte* codes, const std::byte* scales, uint64_t blocks, std::byte* out) {
  CopyDecodeShape<2>(codes, scales, blocks, out);
}
#undef QUANTD_ALL_TARGETS

struct Workload {
  std::string preset;
  DataType dtype;
  Bytes values;
  Bytes codes;
  Bytes scales;

  uint64_t element_count() const { return values.size() / SizeBytes(dtype); }
  uint64_t blocks() const { return element_count() / kBlockSize; }
  uint64_t bytes() const { return values.size() + codes.size() + scales.size(); }
};

Workload MakeWorkload(const std::string& preset, DataType dtype, uint64_t value_bytes) {
  const uint64_t count = value_bytes / SizeBytes(dtype);
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return {preset, dtype, Narrowed(values, dtype), Bytes(count / 2), Bytes(count / kBlockSize * sizeof(float))};
}

// The codes of the first elements are what the reference makes of them.
bool Verify(const Workload& work) {
  constexpr uint64_t kVerifiedElements = 1 << 16;
  const uint64_t count = std::min(kVerifiedElements, work.element_count());
  const Bytes head(work.values.begin(),
                   work.values.begin() + static_cast<std::ptrdiff_t>(count * SizeBytes(work.dtype)));
  const auto rules = work.preset == "nf4" ? ReferenceRules::kStrict : ReferenceRules::kBitsandbytes;
  const std::string format = work.preset == "bnb-fp4" ? "fp4" : "nf4";
  const ReferenceBlocks expected = ReferenceQuantize4Bit(format, rules, kBlockSize, Widened(head, work.dtype));
  return std::memcmp(expected.codes.data(), work.codes.data(), expected.codes.size()) == 0 &&
         std::memcmp(expected.absmax.data(), work.scales.data(), expected.absmax.size() * sizeof(float)) == 0;
}

bool VerifyDecoded(const Workload& work) {
  constexpr uint64_t kVerifiedElements = 1 << 16;
  const uint64_t count = std::min(kVerifiedElements, work.element_count());
  ReferenceBlocks blocks;
  for (uint64_t i = 0; i < count / 2; ++i) blocks.codes.push_back(static_cast<uint8_t>(work.codes[i]));
  blocks.absmax.resize(count / kBlockSize);
  std::memcpy(blocks.absmax.data(), work.scales.data(), blocks.absmax.size() * sizeof(float));
  const auto rules = work.preset == "nf4" ? ReferenceRules::kStrict : ReferenceRules::kBitsandbytes;
  const std::string format = work.preset == "bnb-fp4" ? "fp4" : "nf4";
  const Bytes expected = Narrowed(ReferenceDequantize4Bit(format, rules, kBlockSize, blocks, count), work.dtype);
  return std::memcmp(expected.data(), work.values.data(), expected.size()) == 0;
}

// Processor time, because what else runs on the machine is not the kernel's fault.
double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class Function>
double Seconds(Function function) {
  const double begin = ThreadSeconds();
  function();
  benchmark::ClobberMemory();
  return ThreadSeconds() - begin;
}

// Alternates kernel and copy, so that both see the same neighbours.
template <class Kernel, class Copy>
void Compare(benchmark::State& state, const Workload& work, Kernel kernel, Copy copy) {
  double kernel_s = 0;
  double copy_s = 0;
  for (auto _ : state) {
    copy_s += Seconds(copy);
    const double elapsed = Seconds(kernel);
    kernel_s += elapsed;
    state.SetIterationTime(elapsed);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(work.bytes()));
  state.counters["copy_GB/s"] =
      static_cast<double>(state.iterations()) * static_cast<double>(work.bytes()) / copy_s / 1e9;
  state.counters["values_GB/s"] =
      static_cast<double>(state.iterations()) * static_cast<double>(work.values.size()) / kernel_s / 1e9;
  state.counters["ratio"] = copy_s / kernel_s;
}

UnitBatch WholeBatch(const Plan& plan) { return {.end_unit = plan.unit_count()}; }

void Encode(benchmark::State& state, const KernelTable& kernels, const std::string& preset, DataType dtype) {
  Workload work = MakeWorkload(preset, dtype, static_cast<uint64_t>(state.range(0)));
  const auto backend = MakeCpuBackend(kernels);
  const Plan plan = PlanOrDie({preset, {}, 0}, Direction::kQuantize, dtype, {work.element_count()});
  UnitBatch batch = WholeBatch(plan);
  batch.inputs[0] = work.values.data();
  batch.outputs[0] = work.codes.data();
  batch.outputs[1] = work.scales.data();
  const std::atomic<bool> cancelled = false;
  const auto copy = dtype == DataType::kFloat32 ? CopyEncode4 : CopyEncode2;
  Compare(
      state, work, [&] { (void)backend->Run(plan, batch, cancelled); },
      [&] { copy(work.values.data(), work.blocks(), work.codes.data(), work.scales.data()); });
  if (!Verify(work)) state.SkipWithError("wrong codes or scales");
}

void Decode(benchmark::State& state, const KernelTable& kernels, const std::string& preset, DataType dtype) {
  Workload work = MakeWorkload(preset, dtype, static_cast<uint64_t>(state.range(0)));
  const auto backend = MakeCpuBackend(kernels);
  const Plan quantize = PlanOrDie({preset, {}, 0}, Direction::kQuantize, dtype, {work.element_count()});
  const TensorRun quantized = RunTensor(*backend, quantize, {{"values", work.values}});
  work.codes = quantized.outputs.at("codes");
  work.scales = quantized.outputs.at("scales");
  const Plan plan = PlanOrDie({preset, {}, 0}, Direction::kDequantize, dtype, {work.element_count()});
  UnitBatch batch = WholeBatch(plan);
  batch.inputs[0] = work.scales.data();
  batch.inputs[1] = work.codes.data();
  batch.outputs[0] = work.values.data();
  const std::atomic<bool> cancelled = false;
  const auto copy = dtype == DataType::kFloat32 ? CopyDecode4 : CopyDecode2;
  Compare(
      state, work, [&] { (void)backend->Run(plan, batch, cancelled); },
      [&] { copy(work.codes.data(), work.scales.data(), work.blocks(), work.values.data()); });
  if (!VerifyDecoded(work)) state.SkipWithError("wrong values");
}

// One that stays in the cache, as a server's slot does, and one that does not.
void Sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1 << 20)->Arg(128 << 20)->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(0.2);
}

void RegisterBoth(const KernelTable& kernels, const std::string& preset, DataType dtype) {
  std::string name = preset;
  name.append("/").append(InfoOf(dtype).name).append("/").append(kernels.target);
  Sizes(benchmark::RegisterBenchmark(
      ("Encode/" + name).c_str(), [=, &kernels](benchmark::State& state) { Encode(state, kernels, preset, dtype); }));
  Sizes(benchmark::RegisterBenchmark(
      ("Decode/" + name).c_str(), [=, &kernels](benchmark::State& state) { Decode(state, kernels, preset, dtype); }));
}

}  // namespace

void RegisterAll() {
  for (const KernelTable* const kernels : SupportedKernels()) {
    for (const char* const preset : {"bnb-nf4", "bnb-fp4", "nf4"}) {
      for (const DataType dtype : {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16}) {
        RegisterBoth(*kernels, preset, dtype);
      }
    }
  }
}

}  // namespace quantd::testing

int main(int argc, char** argv) {
  quantd::testing::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

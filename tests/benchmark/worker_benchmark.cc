// quantd-gpu-worker, or the fake one without a GPU, from another process: what goes through the slots to the device and
// back beside the pinned copies alone, and how long the smallest batch takes. Both programs lie beside this one.
// worker_benchmark [UNITS]: that the worker computes at once.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "kernels/base/status_macros.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_process.h"
#include "kernels/scheme/batch_layout.h"
#include "server/worker/gpu_discovery.h"
#include "server/worker/gpu_worker.h"
#include "tests/benchmark/device_timer.h"
#include "tests/support/worker_harness.h"

namespace quantd::testing {
namespace {

constexpr uint32_t kUnitsInFlight = 4;  // unless UNITS says otherwise
constexpr uint32_t kThreadsMax = 16;
constexpr uint64_t kTotalBytes = 1 << 30;
constexpr int kRounds = 5;
constexpr int kSmallBatches = 2000;

template <class T>
T OrThrow(absl::StatusOr<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return *std::move(result);
}

absl::StatusOr<server::LaunchedWorker> Launch(const std::string& gpu) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  QUANTD_ASSIGN_OR_RETURN(auto sockets, server::MessageSocket::MakePair());
  const char* const libraries = std::getenv("LD_LIBRARY_PATH");  // where they were carried beside the programs
  QUANTD_ASSIGN_OR_RETURN(
      auto process, server::ChildProcess::Spawn(
                        {.executable = (folder / (gpu.empty() ? "fake_gpu_worker" : "quantd-gpu-worker")).string(),
                         .environment = {"CUDA_VISIBLE_DEVICES=" + gpu,
                                         std::string("LD_LIBRARY_PATH=") + (libraries ? libraries : "")},
                         .socket = sockets.second.get()}));
  return server::LaunchedWorker{std::move(process), std::move(sockets.first)};
}

// A tensor of float32 in one slot, and room for its codes.
class FilledSlot {
 public:
  FilledSlot(server::SlotArena& arena, uint64_t value_bytes)
      : plan_(PlanOrDie({"bnb-nf4", {}, 0}, Direction::kQuantize, DataType::kFloat32, {value_bytes / sizeof(float)})),
        slot_(arena.AcquireOr(std::make_shared<server::SlotAccount>(1), [](const server::SlotPtr&) {})) {
    if (slot_ == nullptr) throw std::runtime_error("too few slots");
    const Pass& pass = plan_.passes.front();
    const BatchLayout layout = LayOut(pass, plan_.unit_count());
    batch_.end_unit = plan_.unit_count();
    batch_.parameters = ParametersOf(plan_, {}, 0);
    batch_.inputs[0] = slot_->data() + layout.inputs[0].offset;
    auto* const values = reinterpret_cast<float*>(slot_->data() + layout.inputs[0].offset);
    for (uint64_t i = 0; i < plan_.element_count; ++i) values[i] = static_cast<float>(i * 2654435761u % 65536) - 32768;
    for (size_t i = 0; i < pass.outputs.size(); ++i) batch_.outputs[i] = slot_->data() + layout.outputs[i].offset;
  }

  BatchRun Run() const { return {plan_, batch_, cancelled_}; }
  void RunOn(Backend& backend) { OrThrow(backend.Run(plan_, batch_, cancelled_)); }

  bool IsRight() const {
    std::vector<Bytes> expected;
    UnitBatch batch = batch_;
    for (size_t i = 0; i < plan_.passes[0].outputs.size(); ++i) {
      expected.emplace_back(plan_.passes[0].outputs[i].bytes);
      batch.outputs[i] = expected.back().data();
    }
    OrThrow(MakeCpuBackend()->Run(plan_, batch, cancelled_));
    for (size_t i = 0; i < expected.size(); ++i) {
      if (std::memcmp(batch_.outputs[i], expected[i].data(), expected[i].size()) != 0) return false;
    }
    return true;
  }

 private:
  Plan plan_;
  server::SlotPtr slot_;
  UnitBatch batch_;
  std::atomic<bool> cancelled_ = false;
};

double Seconds(const std::function<void()>& work) {
  const absl::Time begin = absl::Now();
  work();
  return absl::ToDoubleSeconds(absl::Now() - begin);
}

// Bytes per second of one direction alone.
double PinnedCopyRate(cudaMemcpyKind kind) {
  constexpr uint64_t kBytes = 256 << 20;
  void* host = nullptr;
  void* device = nullptr;
  Check(cudaMallocHost(&host, kBytes));
  Check(cudaMalloc(&device, kBytes));
  const bool up = kind == cudaMemcpyHostToDevice;
  const double seconds = SecondsOf(
      9, nullptr, [&] { Check(cudaMemcpyAsync(up ? device : host, up ? host : device, kBytes, kind, nullptr)); });
  Check(cudaFree(device));
  Check(cudaFreeHost(host));
  return kBytes / seconds;
}

// Batches whose values lie in slots, and how many of them are outstanding, each from a thread of its own.
struct StreamShape {
  uint64_t value_kib;
  uint32_t at_once;
};
constexpr StreamShape kStreamShapes[] = {{16, 4},    {16, 16},  {64, 4},    {64, 16},  {256, 4},
                                         {256, 16},  {1024, 4}, {1024, 16}, {4096, 4}, {4096, 8},
                                         {4096, 16}, {8192, 4}, {8192, 8},  {16384, 4}};

bool MeasureStream(server::GpuWorker& worker, server::SlotArena& arena, const StreamShape& shape, double pinned) {
  const uint64_t value_bytes = shape.value_kib << 10;
  std::deque<FilledSlot> slots;
  for (uint32_t i = 0; i < shape.at_once; ++i) slots.emplace_back(arena, value_bytes);
  for (FilledSlot& slot : slots) slot.RunOn(worker);
  std::vector<double> seconds;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int64_t> left = kTotalBytes / value_bytes;
    seconds.push_back(Seconds([&] {
      std::vector<std::jthread> threads;
      for (FilledSlot& slot : slots) {
        threads.emplace_back([&] {
          while (left-- > 0) slot.RunOn(worker);
        });
      }
    }));
  }
  std::ranges::nth_element(seconds, seconds.begin() + kRounds / 2);
  const double rate = kTotalBytes / seconds[kRounds / 2];
  const bool right = std::ranges::all_of(slots, &FilledSlot::IsRight);
  std::printf("| 1 GiB of float32 to bnb-nf4, %llu KiB a batch, %u at once | %.1f GB/s | %.3f | %s |\n",
              static_cast<unsigned long long>(shape.value_kib), shape.at_once, rate * 1e-9,
              pinned > 0 ? rate / pinned : 0, right ? "equal" : "**DIFFERENT**");
  return right;
}

// What is fast only while threads are awake shows after a pause. Busy, so that the processor's own sleep stays out.
void Pause(absl::Duration duration) {
  const absl::Time end = absl::Now() + duration;
  while (absl::Now() < end) {
  }
}

bool MeasureRoundTrip(const char* through, Backend& backend, server::SlotArena& arena, uint64_t value_bytes,
                      absl::Duration pause = absl::ZeroDuration()) {
  FilledSlot slot(arena, value_bytes);
  std::vector<double> microseconds;
  for (int i = 0; i < kSmallBatches; ++i) {
    Pause(pause);
    microseconds.push_back(1e6 * Seconds([&] { slot.RunOn(backend); }));
  }
  std::ranges::sort(microseconds);
  const bool right = slot.IsRight();
  std::printf("| %s: %llu KiB, %s apart | p50 %.1f µs, p99 %.1f µs | | %s |\n", through,
              static_cast<unsigned long long>(value_bytes >> 10), absl::FormatDuration(pause).c_str(),
              microseconds[kSmallBatches / 2], microseconds[kSmallBatches * 99 / 100],
              right ? "equal" : "**DIFFERENT**");
  return right;
}

// Small batches that are there at the same time: one after the other, and together.
bool MeasureTogether(Backend& backend, server::SlotArena& arena, uint64_t value_bytes) {
  std::deque<FilledSlot> slots;
  for (uint32_t i = 0; i < kThreadsMax; ++i) slots.emplace_back(arena, value_bytes);
  std::vector<double> apart;
  std::vector<double> together;
  for (int i = 0; i < kSmallBatches / 4; ++i) {
    apart.push_back(1e6 * Seconds([&] {
                      for (FilledSlot& slot : slots) slot.RunOn(backend);
                    }));
    together.push_back(1e6 * Seconds([&] {
                         std::vector<BatchRun> runs;
                         for (const FilledSlot& slot : slots) runs.push_back(slot.Run());
                         backend.RunTogether(runs);
                         for (BatchRun& run : runs) OrThrow(std::move(run.result));
                       }));
  }
  std::ranges::sort(apart);
  std::ranges::sort(together);
  const bool right = std::ranges::all_of(slots, &FilledSlot::IsRight);
  std::printf("| this process: %u of %llu KiB | p50 one after the other %.1f µs, together %.1f µs | | %s |\n",
              kThreadsMax, static_cast<unsigned long long>(value_bytes >> 10), apart[apart.size() / 2],
              together[together.size() / 2], right ? "equal" : "**DIFFERENT**");
  return right;
}

// The GPU's part of a round trip: the same batches without the worker.
bool MeasureWithoutWorker(server::SlotArena& arena) {
  if (CudaDeviceCount() == 0) return true;
  const auto registered =
      OrThrow(RegisteredMemory::Register(std::span(arena.memory(), arena.slot_bytes() * arena.slots_max())));
  const auto copying = OrThrow(MakeCudaBackend(0, MakeCpuBackend()));
  const auto in_place = OrThrow(MakeCudaBackend(0, MakeCpuBackend(), {.mapped = registered.mapped()}));
  bool all_right = true;
  for (const uint64_t kib : {4, 16, 64, 128}) {
    all_right = MeasureRoundTrip("this process, copies", *copying, arena, kib << 10) && all_right;
    all_right = MeasureRoundTrip("this process, in place", *in_place, arena, kib << 10) && all_right;
  }
  for (const uint64_t kib : {4, 16, 64, 256, 1024}) {
    all_right = MeasureTogether(*in_place, arena, kib << 10) && all_right;
  }
  return all_right;
}

bool MeasureWorker(const char* through, server::SlotArena& arena, const std::string& gpu, uint32_t units_in_flight,
                   double pinned) {
  const RealClock clock;
  RecordingLogger logger;
  server::GpuWorker worker(
      {.device = gpu, .units_in_flight_max = units_in_flight, .probe_interval = absl::InfiniteDuration()},
      [&gpu] { return Launch(gpu); }, SharedSlotsOf(arena), clock, logger);
  worker.Start();
  if (!worker.AwaitState(server::WorkerState::kServing, kPatience)) throw std::runtime_error("the worker serves not");
  bool all_right = true;
  if (pinned > 0) {
    for (const StreamShape& shape : kStreamShapes) all_right = MeasureStream(worker, arena, shape, pinned) && all_right;
  }
  for (const uint64_t kib : {4, 64, 128, 1024}) {
    for (const auto pause : {absl::ZeroDuration(), absl::Milliseconds(1)}) {
      all_right = MeasureRoundTrip(through, worker, arena, kib << 10, pause) && all_right;
    }
  }
  return all_right;
}

int Main(uint32_t units_in_flight) {
  const std::vector<std::string> gpus = server::ListNvidiaGpus();
  double pinned = 0;
  if (CudaDeviceCount() > 0) {
    const double up = PinnedCopyRate(cudaMemcpyHostToDevice);
    const double down = PinnedCopyRate(cudaMemcpyDeviceToHost);
    std::printf("pinned copies alone: to the device %.1f GB/s, back %.1f GB/s\n", up * 1e-9, down * 1e-9);
    pinned = std::min(up, down);
  } else {
    std::printf("no GPU: what the processes need for each other only\n");
  }
  const auto arena = OrThrow(server::SlotArena::Create(24 << 20, kThreadsMax, [](const std::function<void()>&) {}));
  std::printf("\n| what | result | of the slower pinned copy | bytes |\n|---|---|---|---|\n");
  bool all_right = gpus.empty() || MeasureWorker("worker", *arena, gpus.front(), units_in_flight, pinned);
  all_right = MeasureWithoutWorker(*arena) && all_right;
  all_right = MeasureWorker("a CPU as the worker", *arena, "", units_in_flight, 0) && all_right;
  return all_right ? 0 : 1;
}

}  // namespace
}  // namespace quantd::testing

int main(int argc, char** argv) {
  try {
    return quantd::testing::Main(argc > 1 ? static_cast<uint32_t>(std::atoi(argv[1]))
                                          : quantd::testing::kUnitsInFlight);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "worker_benchmark: %s\n", error.what());
    return 1;
  }
}

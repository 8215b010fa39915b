#include "tests/support/worker_harness.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "kernels/base/crc32c.h"
#include "kernels/base/status_macros.h"
#include "kernels/scheme/batch_layout.h"
#include "server/telemetry/log_line.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kSlotBytes = 1 << 20;
constexpr uint32_t kSlots = 32;
constexpr uint64_t kColumns = 512;

// A worker has no other environment than what it is given, and a sanitizer looks there for its options.
std::vector<std::string> SanitizerOptions() {
  std::vector<std::string> options;
  for (const std::string name : {"ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
    if (const char* const value = std::getenv(name.c_str())) options.push_back(name + "=" + value);
  }
  return options;
}

absl::StatusOr<server::LaunchedWorker> LaunchFake(const std::string& fault) {
  QUANTD_ASSIGN_OR_RETURN(auto sockets, server::MessageSocket::MakePair());
  QUANTD_ASSIGN_OR_RETURN(auto process, server::ChildProcess::Spawn({.executable = FAKE_GPU_WORKER,
                                                                     .arguments = {fault},
                                                                     .environment = SanitizerOptions(),
                                                                     .socket = sockets.second.get()}));
  return server::LaunchedWorker{std::move(process), std::move(sockets.first)};
}

Plan PlanOf(const SchemeRequest& scheme, uint64_t rows) {
  return PlanOrDie(scheme, Direction::kQuantize, DataType::kFloat32, {rows, kColumns});
}

}  // namespace

void RecordingLogger::Write(server::LogLevel, std::string_view message,
                            std::initializer_list<server::LogField> fields) {
  absl::MutexLock lock(&mutex_);
  lines_.push_back(server::TextLine(message, fields));
}

std::string RecordingLogger::AwaitLine(std::string_view part) {
  absl::MutexLock lock(&mutex_);
  std::string found;
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const std::string& line : lines_) {
      if (line.find(part) != std::string::npos) found = line;
    }
    return !found.empty();
  };
  mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience);
  return found;
}

size_t RecordingLogger::CountLines(std::string_view part) {
  absl::MutexLock lock(&mutex_);
  return static_cast<size_t>(std::count_if(
      lines_.begin(), lines_.end(), [&](const std::string& line) { return line.find(part) != std::string::npos; }));
}

server::WorkerLauncher LaunchFakes(std::vector<std::string> faults) {
  auto next = std::make_shared<std::atomic<size_t>>(0);
  return [next, faults = std::move(faults)] { return LaunchFake(faults[std::min((*next)++, faults.size() - 1)]); };
}

server::SharedSlots SharedSlotsOf(const server::SlotArena& arena) {
  return {arena.descriptor(), {arena.memory(), arena.slot_bytes(), arena.slots_max()}};
}

WorkerHarness::WorkerHarness() {
  auto created = server::SlotArena::Create(kSlotBytes, kSlots, [](const std::function<void()>&) {});
  if (!created.ok()) throw std::runtime_error(created.status().ToString());
  arena = *std::move(created);
}

std::unique_ptr<server::GpuWorker> WorkerHarness::MakeWorker(std::vector<std::string> faults,
                                                             server::GpuWorkerOptions options) {
  return std::make_unique<server::GpuWorker>(std::move(options), LaunchFakes(std::move(faults)), SharedSlotsOf(*arena),
                                             clock, logger);
}

std::unique_ptr<server::GpuWorker> WorkerHarness::ServingWorker(std::vector<std::string> faults,
                                                                server::GpuWorkerOptions options) {
  auto worker = MakeWorker(std::move(faults), std::move(options));
  worker->Start();
  if (!worker->AwaitState(server::WorkerState::kServing, kPatience)) throw std::runtime_error("no worker serves");
  return worker;
}

SlotBatch::SlotBatch(server::SlotArena& arena, const SchemeRequest& scheme, uint64_t rows)
    : plan(PlanOf(scheme, rows)) {
  auto random = MakeRandom(7);
  values_ = BytesOf(RandomTensor(random, plan.element_count, 64));
  slot_ = arena.AcquireOr(std::make_shared<server::SlotAccount>(1), [](server::SlotPtr) {});
  if (slot_ == nullptr) throw std::runtime_error("the harness has too few slots");
  const Pass& pass = plan.passes.front();
  const BatchLayout layout = LayOut(pass, plan.unit_count());
  units.end_unit = plan.unit_count();
  units.parameters = ParametersOf(plan, {}, 0);
  units.inputs[0] = slot_->data() + layout.inputs[0].offset;
  std::memcpy(slot_->data() + layout.inputs[0].offset, values_.data(), values_.size());
  for (size_t i = 0; i < pass.outputs.size(); ++i) {
    if (!pass.outputs[i].whole_tensor()) units.outputs[i] = slot_->data() + layout.outputs[i].offset;
  }
}

absl::StatusOr<BatchResult> SlotBatch::RunOn(Backend& backend) { return backend.Run(plan, units, cancelled); }

Bytes SlotBatch::Outputs() const {
  Bytes bytes;
  for (size_t i = 0; i < plan.passes[0].outputs.size(); ++i) {
    const SegmentLayout& segment = plan.passes[0].outputs[i];
    if (!segment.whole_tensor()) bytes.insert(bytes.end(), units.outputs[i], units.outputs[i] + segment.bytes);
  }
  return bytes;
}

uint32_t SlotBatch::input_crc32c() const { return ExtendCrc32c(0, values_); }

Bytes SlotBatch::Expected() const {
  const TensorRun run = RunTensor(*MakeCpuBackend(), plan, {{"values", values_}});
  Bytes bytes;
  for (const SegmentLayout& segment : plan.passes[0].outputs) {
    if (segment.whole_tensor()) continue;
    const Bytes& output = run.outputs.at(segment.name);
    bytes.insert(bytes.end(), output.begin(), output.end());
  }
  return bytes;
}

}  // namespace quantd::testing

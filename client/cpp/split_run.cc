#include "client/cpp/split_run.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

namespace quantd {
namespace {

// How far the parts are, for whoever watches the whole.
class JointProgress {
 public:
  explicit JointProgress(size_t parts) : consumed_(parts), total_(parts) {}

  void Set(size_t part, uint64_t consumed_bytes, uint64_t total_bytes) {
    consumed_[part] = consumed_bytes;
    total_[part] = total_bytes;
  }
  uint64_t consumed_bytes() const { return Sum(consumed_); }
  uint64_t total_bytes() const { return Sum(total_); }

 private:
  static uint64_t Sum(const std::vector<std::atomic<uint64_t>>& numbers) {
    uint64_t sum = 0;
    for (const auto& number : numbers) sum += number.load();
    return sum;
  }
  std::vector<std::atomic<uint64_t>> consumed_;
  std::vector<std::atomic<uint64_t>> total_;
};

void Join(const Summary& part, Summary& whole) {
  whole.amax = std::max(whole.amax, part.amax);
  if (part.lowest.has_value()) whole.lowest = std::min(whole.lowest.value_or(*part.lowest), *part.lowest);
  if (part.highest.has_value()) whole.highest = std::max(whole.highest.value_or(*part.highest), *part.highest);
  whole.nonfinite_count += part.nonfinite_count;
  whole.receive_time += part.receive_time;
  whole.queue_time += part.queue_time;
  whole.compute_time += part.compute_time;
  whole.total_time = std::max(whole.total_time, part.total_time);
  if (whole.device.empty()) whole.device = part.device;
  if (whole.device != part.device) whole.device += ", " + part.device;
  whole.server_instance = part.server_instance;
}

// The first failure, and the end of the others.
class SharedOutcome {
 public:
  explicit SharedOutcome(CancelToken& others) : others_(others) {}

  void Add(const absl::StatusOr<Summary>& part) {
    const std::lock_guard lock(mutex_);
    if (part.ok()) return Join(*part, summary_);
    if (!status_.ok()) return;
    status_ = part.status();
    others_.Cancel();
  }
  absl::StatusOr<Summary> Take() {
    if (!status_.ok()) return status_;
    return std::move(summary_);
  }

 private:
  CancelToken& others_;
  std::mutex mutex_;
  absl::Status status_;
  Summary summary_;
};

}  // namespace

std::vector<ElementPart> PartsOf(const Plan& plan, uint64_t part_bytes_min, uint32_t parts_max) {
  const uint64_t values_bytes = plan.element_count * SizeBytes(plan.values_dtype);
  const uint64_t units = plan.unit_count();
  const uint64_t wanted = std::min<uint64_t>(parts_max, values_bytes / std::max<uint64_t>(part_bytes_min, 1));
  const uint64_t parts = plan.NeedsSpool() ? 1 : std::clamp<uint64_t>(std::min(wanted, units), 1, parts_max);
  std::vector<ElementPart> ranges;
  for (uint64_t part = 0; part < parts; ++part) {
    const auto begin_of = [&](uint64_t index) {
      return std::min(units / parts * index + std::min(index, units % parts), units) * plan.unit_elements;
    };
    ranges.push_back({begin_of(part), std::min(begin_of(part + 1), plan.element_count)});
  }
  return ranges;
}

absl::StatusOr<Summary> RunParts(const TensorTask& task, const std::vector<ElementPart>& parts, JoinedSegments& joined,
                                 const CallOptions& options, const RunPart& run) {
  CancelToken cancel(options.cancel);
  SharedOutcome outcome(cancel);
  JointProgress progress(parts.size());
  const auto run_part = [&](size_t part) {
    TensorTask own = task;
    own.header.mutable_range()->set_begin(parts[part].begin);
    own.header.mutable_range()->set_end(parts[part].end);
    if (own.values_bytes.has_value()) own.window_before_accept_bytes = 0;
    CallOptions own_options = options;
    own_options.cancel = &cancel;
    own_options.progress = [&, part](uint64_t consumed_bytes, uint64_t total_bytes) {
      progress.Set(part, consumed_bytes, total_bytes);
      if (part == 0 && options.progress) options.progress(progress.consumed_bytes(), progress.total_bytes());
    };
    JoinedSegments::PartSink sink(joined, part == 0);
    outcome.Add(run(part, own, sink, own_options));
  };
  {
    std::vector<std::jthread> others;
    for (size_t part = 1; part < parts.size(); ++part) others.emplace_back(run_part, part);
    run_part(0);
  }
  if (options.progress) options.progress(progress.consumed_bytes(), progress.total_bytes());
  return outcome.Take();
}

}  // namespace quantd

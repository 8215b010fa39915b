// The tensors of one call, their results, and who has which: the work of the pipelines that share it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "client/cpp/pipeline.h"

namespace quantd {

template <typename Result>
class ManyTensors final : public PipelineWork {
 public:
  struct Rules {
    std::function<uint64_t(size_t index)> value_bytes;  // for the progress
    std::function<absl::StatusOr<TensorTask>(size_t index)> task;
    std::function<Result(size_t index, MemoryResult result)> result;
  };

  ManyTensors(size_t count, Rules rules, const CallOptions& options)
      : rules_(std::move(rules)), options_(options), results_(count) {
    for (size_t i = 0; i < count; ++i) total_bytes_ += rules_.value_bytes(i);
  }

  // The indices that pipelines may claim. Before the first claim.
  void SetQueue(std::vector<size_t> queue) { queue_ = std::move(queue); }

  std::optional<size_t> Claim() override {
    const size_t place = next_.fetch_add(1, std::memory_order_relaxed);
    return place < queue_.size() ? std::optional(queue_[place]) : std::nullopt;
  }
  absl::StatusOr<TensorTask> Task(size_t index) override { return rules_.task(index); }
  void Finish(size_t index, absl::StatusOr<MemoryResult> result) override {
    Put(index, result.ok() ? absl::StatusOr<Result>(rules_.result(index, *std::move(result))) : result.status());
  }

  void Put(size_t index, absl::StatusOr<Result> result) {
    results_[index] = std::move(result);
    if (!options_.progress) return;
    const std::lock_guard lock(mutex_);
    done_bytes_ += rules_.value_bytes(index);
    options_.progress(done_bytes_, total_bytes_);
  }

  // After every tensor has its result.
  std::vector<absl::StatusOr<Result>> TakeResults() { return std::move(results_); }

 private:
  const Rules rules_;
  const CallOptions& options_;
  std::vector<size_t> queue_;
  std::atomic<size_t> next_ = 0;
  std::vector<absl::StatusOr<Result>> results_;  // each is written by whoever claimed it
  uint64_t total_bytes_ = 0;
  std::mutex mutex_;
  uint64_t done_bytes_ = 0;  // guarded by mutex_
};

}  // namespace quantd

#include "server/session/preparation.h"

#include <utility>

namespace quantd::server {

PreparationRun::PreparationRun(Preparation preparation, std::shared_ptr<const std::atomic<bool>> cancelled)
    : result_(std::make_shared<Result>()) {
  result_->cancelled = std::move(cancelled);
  result_->cost_bytes = preparation.cost_bytes;
  // The result owns the function, and whoever runs it owns the result.
  result_->compute = [result = result_.get(), compute = std::move(preparation.compute)] {
    result->prepared.emplace(compute(*result->cancelled));
    return result->prepared->status();
  };
}

std::shared_ptr<Run> PreparationRun::TakeRun() {
  if (std::exchange(taken_, true)) return nullptr;
  return result_;
}

absl::StatusOr<Prepared> PreparationRun::Finish() {
  over_ = true;
  if (!result_->status.ok()) return result_->status;
  return *std::move(result_->prepared);
}

}  // namespace quantd::server

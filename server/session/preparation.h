// What a header names and what takes longer to compute than the thread that reads headers has time for.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/scheme/plan.h"
#include "server/session/run.h"

namespace quantd::server {

// In place of what the request says: the same statistics, and the arrays that the client does not send.
struct Prepared {
  KnownStatistics known;
  std::vector<float> smoothing_factors;
  std::vector<float> importance;
};

struct Preparation {
  // Ends soon after `cancelled` is set, with any status. Computed once, on a computing thread.
  std::function<absl::StatusOr<Prepared>(const std::atomic<bool>& cancelled)> compute;
  // Bytes of values whose quantization takes about as long.
  uint64_t cost_bytes = 0;
  // Arrays that it makes.
  ChannelArrays makes;
};

// A preparation as the first run of a tensor.
class PreparationRun {
 public:
  PreparationRun(Preparation preparation, std::shared_ptr<const std::atomic<bool>> cancelled);

  // The run, once; null then.
  std::shared_ptr<Run> TakeRun();
  bool Is(const Run& run) const { return &run == result_.get(); }
  bool over() const { return over_; }
  // Of the run that has come back.
  absl::StatusOr<Prepared> Finish();

 private:
  // Shared with the computing thread, which may outlive the tensor.
  struct Result : Run {
    std::optional<absl::StatusOr<Prepared>> prepared;
  };

  const std::shared_ptr<Result> result_;
  bool taken_ = false;
  bool over_ = false;
};

}  // namespace quantd::server

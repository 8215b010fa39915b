// What a header asks for, worked out once for all tensors that ask for the same.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "kernels/base/once.h"
#include "kernels/scheme/plan.h"
#include "server/session/frame.h"
#include "server/session/limits.h"

namespace quantd::server {

// What is known of a tensor before its first byte. Shared by tensors, and safe from any thread.
struct TensorPlan {
  explicit TensorPlan(Plan made) : plan(std::move(made)), inputs(plan.WireInputs()), outputs(plan.WireOutputs()) {}

  const Plan plan;
  const std::vector<SegmentLayout> inputs;   // that travel
  const std::vector<SegmentLayout> outputs;  // that travel
  // Of a job that makes all of the tensor from what its client sends.
  Once<std::shared_ptr<const SharedAccept>> accept;
};

// A model repeats a few shapes in hundreds of tensors, and a stream of small ones has no time to plan each. Keeps the
// plans that were used last. Safe from any thread.
class PlanCache {
 public:
  static constexpr size_t kPlansMax = 64;

  explicit PlanCache(const Limits& limits, size_t plans_max = kPlansMax) : limits_(limits), plans_max_(plans_max) {}

  // The plan of the request's dtype, shape, scheme and statistics. The errors, which are not kept, are those of
  // ResolveScheme, MakePlan and CheckUnitFits.
  absl::StatusOr<std::shared_ptr<const TensorPlan>> PlanOf(const TensorRequest& request, Direction direction);

 private:
  struct Entry {
    Direction direction{};
    DataType dtype{};
    std::vector<uint64_t> shape;
    SchemeRequest scheme;
    ChannelArrays arrays;
    std::shared_ptr<const TensorPlan> plan;
  };

  std::shared_ptr<const TensorPlan> Find(const TensorRequest& request, Direction direction, ChannelArrays arrays);
  void Keep(Entry entry);

  const Limits& limits_;
  const size_t plans_max_;
  absl::Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // the one that was used last comes first
};

}  // namespace quantd::server

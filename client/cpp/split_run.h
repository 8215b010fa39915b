// One large tensor over several connections: each takes a range of it.
#pragma once

#include <functional>
#include <vector>

#include "client/cpp/client.h"
#include "client/cpp/joined_segments.h"
#include "client/cpp/tensor_call.h"
#include "kernels/scheme/plan.h"

namespace quantd {

// Elements [begin, end) of each part: at most `parts_max` (> 0) of about the same size, whole units, and at least
// `part_bytes_min` of values each, but for a tensor that is smaller. One part where parts would not be independent: a
// statistic of the whole tensor is missing.
struct ElementPart {
  uint64_t begin = 0;
  uint64_t end = 0;
};
std::vector<ElementPart> PartsOf(const Plan& plan, uint64_t part_bytes_min, uint32_t parts_max);

// Runs one part's task to its end, into its sink: RunTensor, over a connection of its own.
using RunPart = std::function<absl::StatusOr<Summary>(size_t part, const TensorTask& task, SegmentSink& sink,
                                                      const CallOptions& options)>;

// Runs all parts at the same time, the first on the calling thread, and joins their results in `joined`. The summary is
// that of the whole tensor: times are added up, but for the total, which is the longest. The first error cancels the
// other parts and is returned.
absl::StatusOr<Summary> RunParts(const TensorTask& task, const std::vector<ElementPart>& parts, JoinedSegments& joined,
                                 const CallOptions& options, const RunPart& run);

}  // namespace quantd

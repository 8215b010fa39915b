// Many tensors on one stream: each is sent while the results of those before it are still coming.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/accept_cache.h"
#include "client/cpp/client.h"
#include "client/cpp/memory_sink.h"
#include "client/cpp/retry.h"
#include "client/cpp/stream_transport.h"
#include "client/cpp/tensor_call.h"

namespace quantd {

// The tensors, by their index. Several pipelines may share one; it is called from their threads.
class PipelineWork {
 public:
  virtual ~PipelineWork() = default;
  // The next tensor that nobody has, and none once there is none.
  virtual std::optional<size_t> Claim() = 0;
  // What is to be done with it. An error is its result.
  virtual absl::StatusOr<TensorTask> Task(size_t index) = 0;
  // Its result. Once for every tensor that was claimed.
  virtual void Finish(size_t index, absl::StatusOr<MemoryResult> result) = 0;
};

// Claims tensors until there are none, and brings each to its end, over one stream after another from `open` until the
// retries end: a new one begins with the first tensor whose results have not all come. An error of one tensor is its
// result and ends nothing else; an error that ends the retries is the result of all that are left.
void RunPipeline(PipelineWork& work, const CallOptions& options, const RetryPolicy& policy,
                 const RetryEnvironment& environment, const std::function<std::unique_ptr<StreamTransport>()>& open,
                 AcceptCache& accepts);

}  // namespace quantd

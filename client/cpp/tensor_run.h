// One tensor to its end, over as many streams as that takes.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "client/cpp/accept_cache.h"
#include "client/cpp/client.h"
#include "client/cpp/retry.h"
#include "client/cpp/stream_transport.h"
#include "client/cpp/tensor_call.h"

namespace quantd {

// Runs the task on streams from `open`, one after another until the retries end: the next one begins with the element
// up to which `sink` has all results. Errors: those of the last stream, and Client's.
absl::StatusOr<Summary> RunTensor(const TensorTask& task, SegmentSink& sink, const CallOptions& options,
                                  const RetryPolicy& policy, const RetryEnvironment& environment,
                                  const std::function<std::unique_ptr<StreamTransport>()>& open, AcceptCache& accepts);

}  // namespace quantd

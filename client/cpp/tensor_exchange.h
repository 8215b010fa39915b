// Runs one tensor over one stream, on the calling thread.
#pragma once

#include "client/cpp/accept_cache.h"
#include "client/cpp/client.h"
#include "client/cpp/retry.h"
#include "client/cpp/stream_transport.h"
#include "client/cpp/tensor_call.h"

namespace quantd {

struct ExchangeResult {
  AttemptResult attempt;                   // but for `advanced`, which the caller knows
  Summary summary;                         // if attempt.status is OK
  std::optional<uint64_t> resume_element;  // TensorCall::resume_element
  std::optional<v1::Upload> upload;        // TensorCall::upload
  uint64_t begin_bytes = 0;                // TensorCall::begin_bytes
  std::string server_instance;             // TensorCall::server_instance
};

// Sends the task, delivers the results to `sink`, reports to options.progress and obeys options.cancel. When it
// returns, the stream has ended.
ExchangeResult ExchangeTensor(const TensorTask& task, StreamTransport& stream, SegmentSink& sink,
                              const CallOptions& options, AcceptCache& accepts);

}  // namespace quantd

// What servers accept, read once for all tensors that are accepted in the same way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "quantd/v1/quantization_service.pb.h"

namespace quantd {

// An accept, and what a sink is told of it. Shared by calls, and safe from any thread.
struct KnownAccept {
  // INTERNAL: the server broke the protocol.
  static absl::StatusOr<std::shared_ptr<const KnownAccept>> Of(v1::Accept message);

  v1::Accept message;
  SchemeRequest scheme;
  std::vector<SegmentView> outputs;
  std::vector<uint64_t> output_bytes;
};

// A model's tensors are accepted in a few ways, and reading one, whose scheme is a map, takes longer than all the rest
// of a small response. Keeps those that were used last. Safe from any thread.
class AcceptCache {
 public:
  static constexpr size_t kAcceptsMax = 16;
  static constexpr size_t kAcceptBytesMax = 4096;  // longer ones are read each time

  // The accept that is serialized so. The errors, which are not kept, are KnownAccept's.
  absl::StatusOr<std::shared_ptr<const KnownAccept>> Get(std::string_view serialized);

 private:
  struct Entry {
    std::string serialized;
    std::shared_ptr<const KnownAccept> accept;
  };

  std::shared_ptr<const KnownAccept> Find(std::string_view serialized);

  std::mutex mutex_;
  std::list<Entry> entries_;  // the one that was used last comes first; guarded by mutex_
};

}  // namespace quantd

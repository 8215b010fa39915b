#include "client/cpp/accept_cache.h"

#include <algorithm>

#include "client/cpp/wire_convert.h"
#include "kernels/base/status_macros.h"

namespace quantd {

absl::StatusOr<std::shared_ptr<const KnownAccept>> KnownAccept::Of(v1::Accept message) {
  auto accept = std::make_shared<KnownAccept>();
  for (const v1::Segment& segment : message.outputs()) {
    QUANTD_ASSIGN_OR_RETURN(SegmentView view, FromWire(segment));
    accept->outputs.push_back(std::move(view));
    accept->output_bytes.push_back(segment.size_bytes());
  }
  accept->scheme = FromWire(message.scheme());
  accept->message = std::move(message);
  return accept;
}

absl::StatusOr<std::shared_ptr<const KnownAccept>> AcceptCache::Get(std::string_view serialized) {
  if (auto found = Find(serialized)) return found;
  v1::Accept message;
  if (!message.ParseFromArray(serialized.data(), static_cast<int>(serialized.size()))) {
    return absl::InternalError("The server broke the protocol: an accept that cannot be read.");
  }
  QUANTD_ASSIGN_OR_RETURN(auto accept, KnownAccept::Of(std::move(message)));
  if (serialized.size() > kAcceptBytesMax) return accept;
  const std::lock_guard lock(mutex_);
  entries_.push_front({std::string(serialized), accept});
  if (entries_.size() > kAcceptsMax) entries_.pop_back();
  return accept;
}

std::shared_ptr<const KnownAccept> AcceptCache::Find(std::string_view serialized) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.serialized == serialized; });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->accept;
}

}  // namespace quantd

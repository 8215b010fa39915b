#include "server/session/region_allocator.h"

#include <algorithm>
#include <utility>

#include "kernels/base/checked_math.h"
#include "kernels/scheme/batch_layout.h"

namespace quantd::server {

std::optional<Region> RegionAllocator::TryShare(uint64_t bytes) {
  SlotPtr slot = shared_.lock();
  if (slot == nullptr || bytes > slot->bytes() - used_bytes_) return std::nullopt;
  std::byte* data = slot->data() + used_bytes_;
  used_bytes_ = std::min(AlignUp(used_bytes_ + bytes, kAreaAlignmentBytes), slot->bytes());
  return Region{std::move(slot), data, bytes};
}

Region RegionAllocator::Take(const SlotPtr& slot, uint64_t bytes) {
  shared_ = slot;
  used_bytes_ = 0;
  return *TryShare(bytes);
}

}  // namespace quantd::server

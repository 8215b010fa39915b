// Parts of slots for one stream: small tensors share a slot, large ones take one after another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "server/session/slot_arena.h"

namespace quantd::server {

// Memory inside a slot; keeps the slot.
struct Region {
  SlotPtr slot;
  std::byte* data = nullptr;
  uint64_t bytes = 0;
};

// Cuts regions from the newest slot while something else still lives in it. Holds no slot itself: an idle stream has
// none. Not thread-safe.
class RegionAllocator {
 public:
  // A region of the shared slot, if it has room. Begins at a cache line.
  std::optional<Region> TryShare(uint64_t bytes);
  // A region at the start of a fresh slot, which becomes the shared one. bytes <= slot->bytes().
  Region Take(const SlotPtr& slot, uint64_t bytes);

 private:
  std::weak_ptr<Slot> shared_;
  uint64_t used_bytes_ = 0;
};

}  // namespace quantd::server

// The slots: the memory that tensors pass through on their way from wire to wire, and at the same time its bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/session/principal.h"

namespace quantd::server {

// How many slots one stream holds, and may hold. Changed by the arena alone, under its lock.
struct SlotAccount {
  explicit SlotAccount(uint32_t max, Principal owner = {}) : slots_max(max), principal(std::move(owner)) {}
  const uint32_t slots_max;
  const Principal principal;
  uint32_t slots = 0;
};

// Memory of slot_bytes; goes back to the arena with its last reference, wherever that is: a tensor, a computation, or a
// slice in the transport.
class Slot;
using SlotPtr = std::shared_ptr<Slot>;

// A fixed number of slots in one memfd, so that another process can map them. Pages are taken from the system when
// first written. The arena lives until its last slot has come back, even if its owner is gone. Safe from any thread.
class SlotArena : public std::enable_shared_from_this<SlotArena> {
 public:
  // Runs a function soon, on another stack: never inside the call.
  using Executor = std::function<void(std::function<void()>)>;

  // One principal's streams together never hold more than slots_per_principal_max. RESOURCE_EXHAUSTED if the address
  // space or the memfd cannot be had.
  static absl::StatusOr<std::shared_ptr<SlotArena>> Create(uint64_t slot_bytes, uint32_t slots_max, Executor executor,
                                                           uint32_t slots_per_principal_max = UINT32_MAX);
  ~SlotArena();
  SlotArena(const SlotArena&) = delete;
  SlotArena& operator=(const SlotArena&) = delete;

  // A slot now, if one is free, nobody who could use it waits longer, and the account and its principal are below their
  // maxima. Otherwise null, and `ready` gets one through the executor when that changes: a slot that comes back goes to
  // the principal that holds the fewest for its weight, and there to whoever waits longest. After Close `ready` may
  // never be called.
  SlotPtr AcquireOr(const std::shared_ptr<SlotAccount>& account, std::function<void(SlotPtr)> ready);

  // Forgets everybody who waits; from now on slots are only taken back.
  void Close();

  // That the account holds, and that its principal holds.
  struct Holdings {
    uint32_t of_account = 0;
    uint32_t of_principal = 0;
  };
  Holdings HoldingsOf(const SlotAccount& account) const;

  uint64_t slot_bytes() const { return slot_bytes_; }
  uint32_t slots_max() const { return slots_max_; }
  uint32_t slots_per_principal_max() const { return slots_per_principal_max_; }
  uint32_t free_slots() const;
  // All slots, one after another, and the memfd that they lie in from its start. As long as the arena.
  std::byte* memory() const { return memory_; }
  int descriptor() const { return memfd_; }

 private:
  friend class Slot;
  struct Waiter {
    std::shared_ptr<SlotAccount> account;
    std::function<void(SlotPtr)> ready;
  };

  SlotArena(int memfd, std::byte* memory, uint64_t slot_bytes, uint32_t slots_max, Executor executor,
            uint32_t slots_per_principal_max);
  uint32_t SlotsOf(const Principal& principal) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayHaveOne(const SlotAccount& account) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasLess(const Principal& one, const Principal& other) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  SlotPtr Lend(const std::shared_ptr<SlotAccount>& account) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeBack(uint32_t index, SlotAccount& account);

  const int memfd_;
  std::byte* const memory_;
  const uint64_t slot_bytes_;
  const uint32_t slots_max_;
  const Executor executor_;
  const uint32_t slots_per_principal_max_;

  mutable absl::Mutex mutex_;
  std::vector<uint32_t> free_
      ABSL_GUARDED_BY(mutex_);  // last in, first out: warm pages first, and cold ones never touched
  std::deque<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint32_t> slots_of_ ABSL_GUARDED_BY(mutex_);  // by principal; none: not in it
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

class Slot {
 public:
  ~Slot() { arena_->TakeBack(index_, *account_); }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  std::byte* data() const { return arena_->memory_ + index_ * arena_->slot_bytes_; }
  uint64_t bytes() const { return arena_->slot_bytes_; }

 private:
  friend class SlotArena;
  Slot(std::shared_ptr<SlotArena> arena, uint32_t index, std::shared_ptr<SlotAccount> account)
      : arena_(std::move(arena)), index_(index), account_(std::move(account)) {}

  const std::shared_ptr<SlotArena> arena_;
  const uint32_t index_;
  const std::shared_ptr<SlotAccount> account_;
};

}  // namespace quantd::server

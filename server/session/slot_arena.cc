#include "server/session/slot_arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/base/checked_math.h"

namespace quantd::server {
namespace {

absl::Status OutOfMemory(const char* what, uint64_t bytes) {
  return absl::ResourceExhaustedError(std::string(what) + " of " + std::to_string(bytes) +
                                      " bytes for the slots failed: " + std::strerror(errno) +
                                      ". Lower slots_max or slot_bytes.");
}

}  // namespace

absl::StatusOr<std::shared_ptr<SlotArena>> SlotArena::Create(uint64_t slot_bytes, uint32_t slots_max, Executor executor,
                                                             uint32_t slots_per_principal_max) {
  const auto bytes = CheckedMul(slot_bytes, slots_max);
  if (!bytes.has_value()) return absl::InvalidArgumentError("slot_bytes * slots_max does not fit in 64 bits");
  const int memfd = memfd_create("quantd-slots", MFD_CLOEXEC);
  if (memfd < 0) return OutOfMemory("memfd_create", *bytes);
  if (ftruncate(memfd, static_cast<off_t>(*bytes)) != 0) {
    absl::Status status = OutOfMemory("ftruncate", *bytes);
    close(memfd);
    return status;
  }
  void* memory = mmap(nullptr, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
  if (memory == MAP_FAILED) {
    absl::Status status = OutOfMemory("mmap", *bytes);
    close(memfd);
    return status;
  }
  return std::shared_ptr<SlotArena>(new SlotArena(memfd, static_cast<std::byte*>(memory), slot_bytes, slots_max,
                                                  std::move(executor), slots_per_principal_max));
}

SlotArena::SlotArena(int memfd, std::byte* memory, uint64_t slot_bytes, uint32_t slots_max, Executor executor,
                     uint32_t slots_per_principal_max)
    : memfd_(memfd),
      memory_(memory),
      slot_bytes_(slot_bytes),
      slots_max_(slots_max),
      executor_(std::move(executor)),
      slots_per_principal_max_(slots_per_principal_max) {
  for (uint32_t index = slots_max; index > 0; --index) free_.push_back(index - 1);
}

SlotArena::~SlotArena() {
  munmap(memory_, slot_bytes_ * slots_max_);
  close(memfd_);
}

SlotPtr SlotArena::AcquireOr(const std::shared_ptr<SlotAccount>& account, std::function<void(SlotPtr)> ready) {
  absl::MutexLock lock(&mutex_);
  if (closed_) return nullptr;
  const bool others_wait = std::any_of(waiters_.begin(), waiters_.end(), [this](const Waiter& waiter) {
    mutex_.AssertHeld();
    return MayHaveOne(*waiter.account);
  });
  if (!free_.empty() && !others_wait && MayHaveOne(*account)) return Lend(account);
  waiters_.push_back({account, std::move(ready)});
  return nullptr;
}

void SlotArena::Close() {
  std::deque<Waiter> forgotten;
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  forgotten.swap(waiters_);
}

uint32_t SlotArena::free_slots() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<uint32_t>(free_.size());
}

SlotArena::Holdings SlotArena::HoldingsOf(const SlotAccount& account) const {
  absl::MutexLock lock(&mutex_);
  return {account.slots, SlotsOf(account.principal)};
}

uint32_t SlotArena::SlotsOf(const Principal& principal) const {
  const auto found = slots_of_.find(principal.name);
  return found == slots_of_.end() ? 0 : found->second;
}

bool SlotArena::MayHaveOne(const SlotAccount& account) const {
  return account.slots < account.slots_max && SlotsOf(account.principal) < slots_per_principal_max_;
}

bool SlotArena::HasLess(const Principal& one, const Principal& other) const {
  return uint64_t{SlotsOf(one)} * other.weight < uint64_t{SlotsOf(other)} * one.weight;
}

SlotPtr SlotArena::Lend(const std::shared_ptr<SlotAccount>& account) {
  const uint32_t index = free_.back();
  free_.pop_back();
  ++account->slots;
  ++slots_of_[account->principal.name];
  return SlotPtr(new Slot(shared_from_this(), index, account));
}

void SlotArena::TakeBack(uint32_t index, SlotAccount& account) {
  absl::MutexLock lock(&mutex_);
  free_.push_back(index);
  --account.slots;
  const auto of_principal = slots_of_.find(account.principal.name);
  if (--of_principal->second == 0) slots_of_.erase(of_principal);
  auto next = waiters_.end();
  for (auto waiter = waiters_.begin(); waiter != waiters_.end(); ++waiter) {
    if (!MayHaveOne(*waiter->account)) continue;
    if (next == waiters_.end() || HasLess(waiter->account->principal, next->account->principal)) next = waiter;
  }
  if (next == waiters_.end()) return;
  // The slot travels inside the posted function: if the waiter is gone by then, it comes back here.
  executor_([slot = Lend(next->account), ready = std::move(next->ready)]() mutable { ready(std::move(slot)); });
  waiters_.erase(next);
}

}  // namespace quantd::server

#include "client/cpp/channel_pool.h"

#include <algorithm>
#include <utility>

namespace quantd {

ChannelPool::ChannelPool(Factory factory, ServerAddresses addresses, uint32_t channels_max)
    : factory_(std::move(factory)), addresses_(std::move(addresses)), entries_(std::max(channels_max, 1u)) {}

std::vector<ChannelPool::Lease> ChannelPool::Take(uint32_t wanted) {
  const std::lock_guard lock(mutex_);
  std::vector<Lease> leases;
  const auto take = [&](Entry& entry) {
    ++entry.calls;
    leases.emplace_back(*this, static_cast<size_t>(&entry - entries_.data()));
  };
  take(*std::ranges::min_element(entries_, {}, &Entry::calls));
  for (Entry& entry : entries_) {
    if (leases.size() >= wanted) break;
    if (entry.calls == 0) take(entry);
  }
  return leases;
}

std::shared_ptr<grpc::Channel> ChannelPool::ChannelAt(size_t index, uint64_t& generation) {
  ServerAddresses::Pinned pinned;
  {
    const std::lock_guard lock(addresses_mutex_);
    pinned = addresses_.Get();
  }
  generation = pinned.generation;
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[index];
  if (entry.channel == nullptr || entry.generation < generation) {
    entry.channel = factory_(pinned.target);
    entry.generation = generation;
  }
  return entry.channel;
}

void ChannelPool::MoveOn(uint64_t generation) {
  const std::lock_guard lock(addresses_mutex_);
  addresses_.MoveOn(generation);
}

void ChannelPool::GiveBack(size_t index) {
  const std::lock_guard lock(mutex_);
  --entries_[index].calls;
}

}  // namespace quantd

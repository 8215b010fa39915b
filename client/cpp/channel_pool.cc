#include "client/cpp/channel_pool.h"

#include <algorithm>
#include <utility>

namespace quantd {

ChannelPool::ChannelPool(Factory factory, uint32_t channels_max)
    : factory_(std::move(factory)), entries_(std::max(channels_max, 1u)) {}

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

std::shared_ptr<grpc::Channel> ChannelPool::ChannelAt(size_t index) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[index];
  if (entry.channel == nullptr) entry.channel = factory_();
  return entry.channel;
}

void ChannelPool::GiveBack(size_t index) {
  const std::lock_guard lock(mutex_);
  --entries_[index].calls;
}

}  // namespace quantd

// A few connections to one server, shared by all calls of a client.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace grpc {
class Channel;
}

namespace quantd {

// Safe from any thread. Must outlive its leases.
class ChannelPool {
 public:
  using Factory = std::function<std::shared_ptr<grpc::Channel>()>;

  // One connection, as it counts for one call. Move-only.
  class Lease {
   public:
    Lease(ChannelPool& pool, size_t index) : pool_(&pool), index_(index) {}
    Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), index_(other.index_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (pool_ != nullptr) pool_->GiveBack(index_);
    }
    std::shared_ptr<grpc::Channel> channel() const { return pool_->ChannelAt(index_); }

   private:
    ChannelPool* pool_;
    size_t index_;
  };

  // Makes channels as they are needed; each must be a connection of its own.
  ChannelPool(Factory factory, uint32_t channels_max);

  // At least one lease and at most `wanted` (> 0): the first on the connection with the fewest calls, the others on
  // those without any.
  std::vector<Lease> Take(uint32_t wanted);

 private:
  struct Entry {
    std::shared_ptr<grpc::Channel> channel;
    uint32_t calls = 0;
  };

  std::shared_ptr<grpc::Channel> ChannelAt(size_t index);
  void GiveBack(size_t index);

  const Factory factory_;
  std::mutex mutex_;
  std::vector<Entry> entries_;  // guarded by mutex_
};

}  // namespace quantd

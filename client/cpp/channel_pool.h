// A few connections to one server, shared by all calls of a client.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "client/cpp/server_addresses.h"

namespace grpc {
class Channel;
}

namespace quantd {

// All connections go to one address at a time. Safe from any thread. Must outlive its leases.
class ChannelPool {
 public:
  using Factory = std::function<std::shared_ptr<grpc::Channel>(const std::string& target)>;

  // One connection, as it counts for one call. Move-only; used by one thread.
  class Lease {
   public:
    Lease(ChannelPool& pool, size_t index) : pool_(&pool), index_(index) {}
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), index_(other.index_), generation_(other.generation_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (pool_ != nullptr) pool_->GiveBack(index_);
    }
    // To the address in use now. May resolve a name, and look which of its addresses can be connected to.
    std::shared_ptr<grpc::Channel> channel() const { return pool_->ChannelAt(index_, generation_); }
    // The server of the last channel cannot be reached, or goes: all connections move on to the next address, if there
    // is one. Calls on others of the old ones come to their end there.
    void MoveOn() const { pool_->MoveOn(generation_); }

   private:
    ChannelPool* pool_;
    size_t index_;
    mutable uint64_t generation_ = 0;  // of the last channel
  };

  // Makes channels as they are needed; each must be a connection of its own.
  ChannelPool(Factory factory, ServerAddresses addresses, uint32_t channels_max);

  // At least one lease and at most `wanted` (> 0): the first on the connection with the fewest calls, the others on
  // those without any.
  std::vector<Lease> Take(uint32_t wanted);

 private:
  struct Entry {
    std::shared_ptr<grpc::Channel> channel;
    uint64_t generation = 0;
    uint32_t calls = 0;
  };

  std::shared_ptr<grpc::Channel> ChannelAt(size_t index, uint64_t& generation);
  void MoveOn(uint64_t generation);
  void GiveBack(size_t index);

  const Factory factory_;
  std::mutex addresses_mutex_;
  ServerAddresses addresses_;  // guarded by addresses_mutex_, which is held while a name is resolved
  std::mutex mutex_;
  std::vector<Entry> entries_;  // guarded by mutex_
};

}  // namespace quantd

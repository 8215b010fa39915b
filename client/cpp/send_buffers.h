// Memory for outgoing payload that may outlive the call.
//
// gRPC holds a payload until it is on the socket, which can be long after the call was cancelled: a peer that does not
// read keeps it there. So memory without an owner (lent_memory.h) is copied, and a cancelled call can return at once.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "grpcpp/support/slice.h"
#include "proto/codec/frame_codec.h"

namespace quantd {

// Safe from any thread: slices come back from gRPC's.
class SendBuffers : public std::enable_shared_from_this<SendBuffers> {
 public:
  static std::shared_ptr<SendBuffers> Create() { return std::shared_ptr<SendBuffers>(new SendBuffers); }

  // The payload, one part after another. `crc32cs` gets the CRC32C of each part, unless it is empty: what is read for
  // both is read once. The slice keeps this object alive, and its memory is used again when gRPC has
  // let go of it.
  grpc::Slice Copy(std::span<const wire::ByteSpan> payload, std::span<uint32_t> crc32cs);

 private:
  struct Buffer {
    std::vector<std::byte> bytes;
    std::shared_ptr<SendBuffers> home;  // set while gRPC has the buffer
  };

  SendBuffers() = default;
  std::unique_ptr<Buffer> Take();
  static void Return(void* buffer);

  std::mutex mutex_;
  std::vector<std::unique_ptr<Buffer>> free_;  // guarded by mutex_
};

}  // namespace quantd

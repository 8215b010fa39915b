#include "client/cpp/send_buffers.h"

#include <cstring>
#include <utility>

#include "kernels/base/crc32c.h"

namespace quantd {
namespace {

constexpr size_t kFreeBuffersMax = 4;

}  // namespace

grpc::Slice SendBuffers::Copy(std::span<const wire::ByteSpan> payload, std::span<uint32_t> crc32cs) {
  size_t bytes = 0;
  for (wire::ByteSpan part : payload) bytes += part.size();
  std::unique_ptr<Buffer> buffer = Take();
  if (buffer->bytes.size() < bytes) buffer->bytes.resize(bytes);
  std::byte* target = buffer->bytes.data();
  for (size_t i = 0; i < payload.size(); ++i) {
    const wire::ByteSpan part = payload[i];
    if (!crc32cs.empty()) {
      crc32cs[i] = CopyWithCrc32c(target, part, 0);
    } else if (!part.empty()) {
      std::memcpy(target, part.data(), part.size());
    }
    target += part.size();
  }
  buffer->home = shared_from_this();
  std::byte* const data = buffer->bytes.data();
  return grpc::Slice(data, bytes, Return, buffer.release());
}

std::unique_ptr<SendBuffers::Buffer> SendBuffers::Take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return std::make_unique<Buffer>();
  std::unique_ptr<Buffer> buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void SendBuffers::Return(void* buffer) {
  std::unique_ptr<Buffer> returned(static_cast<Buffer*>(buffer));
  // A buffer that stays here must not keep its home alive.
  const std::shared_ptr<SendBuffers> home = std::move(returned->home);
  const std::lock_guard lock(home->mutex_);
  if (home->free_.size() < kFreeBuffersMax) home->free_.push_back(std::move(returned));
}

}  // namespace quantd

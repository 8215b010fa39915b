#include "client/cpp/lent_memory.h"

#include <utility>

namespace quantd {
namespace {

using Owner = std::shared_ptr<const void>;

void Return(void* owner) { delete static_cast<Owner*>(owner); }

}  // namespace

grpc::Slice Lend(wire::ByteSpan bytes, Owner owner) {
  auto kept = std::make_unique<Owner>(std::move(owner));
  // gRPC's slices are not const, but what is sent is only read.
  return {const_cast<std::byte*>(bytes.data()), bytes.size(), Return, kept.release()};
}

}  // namespace quantd

// Memory that gRPC sends from where it lies.
#pragma once

#include <memory>

#include "grpcpp/support/slice.h"
#include "proto/codec/frame_codec.h"

namespace quantd {

// A slice of `bytes`, whose `owner` it holds until gRPC has let go of it, on whichever thread that is.
grpc::Slice Lend(wire::ByteSpan bytes, std::shared_ptr<const void> owner);

}  // namespace quantd

// A frame on its way to the transport.
#pragma once

#include <memory>
#include <vector>

#include "proto/codec/frame_codec.h"
#include "quantd/v1/quantization_service.pb.h"

namespace quantd {

// The bulk methods' messages have the same fields, so the names of Quantize's stand for all of them.
using RequestFields = v1::QuantizeRequest;
using ResponseFields = v1::QuantizeResponse;

struct OutgoingFrame {
  RequestFields fields;
  std::vector<wire::ByteSpan> payload;  // of each of the fields' pieces; whoever made the frame keeps the memory
  bool checksums = false;               // the pieces get the CRC32C of their payload, by whoever reads it first
  std::shared_ptr<const void> owner;    // of the payload, which may be sent from where it lies; none: it is copied
};

}  // namespace quantd

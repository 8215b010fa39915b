// Splits and joins the frames of the bulk methods without copying their data, byte-compatible with the generated code.
//
// All four bulk messages share field numbers: small fields below 1000, `bytes data = 1000`. The small fields go through
// the generated classes; the data stays where the transport put it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace google::protobuf {
class MessageLite;
}

namespace quantd::wire {

using ByteSpan = std::span<const std::byte>;

// Limits of one serialized frame.
inline constexpr uint32_t kFrameDataBytesMax = (4u << 20) - (64u << 10);
inline constexpr uint32_t kFrameFieldsBytesMax = 64u << 10;
inline constexpr uint32_t kFramePiecesMax = 64;

// A frame taken apart.
struct SplitFrame {
  std::string fields;          // serialized, without field 1000; unknown fields kept
  std::string apart;           // content of the message field that was to be kept apart
  std::vector<ByteSpan> data;  // parts of the source, in order; valid as long as the source
  uint64_t data_bytes = 0;     // sum of the parts
};

// Takes apart a serialized frame that lies in `slices`. Fields may come in any order; where field 1000 comes twice the
// last one counts, as protobuf has it. INVALID_ARGUMENT with reason MALFORMED_FRAME (not a protobuf message) or
// FRAME_TOO_LARGE (a limit above, named in the message). `apart`: a field that is a message and goes there instead of
// to the fields; where it comes twice, one after the other, which is how protobuf merges messages. 0: none.
absl::StatusOr<SplitFrame> Split(std::span<const ByteSpan> slices, uint32_t apart = 0);

// The bytes that go before the data: `fields` serialized, then `more_fields`, which are serialized already, then tag
// and length of field 1000 (left out for data_bytes 0). Neither must have data set.
std::string EncodeHead(const google::protobuf::MessageLite& fields, uint64_t data_bytes,
                       std::string_view more_fields = {});

// One field that is a message, whose own fields are serialized in `parts`.
std::string EncodeMessageField(uint32_t field, std::initializer_list<std::string_view> parts);

}  // namespace quantd::wire

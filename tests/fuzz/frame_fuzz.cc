#include <algorithm>
#include <vector>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/stubs/logging.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "proto/codec/frame_codec.h"
#include "quantd/v1/quantization_service.pb.h"
#include "tests/fuzz/fuzz_target.h"

namespace quantd::testing {
namespace {

// One slice, or slices of seed, 2 · seed, ... bytes modulo 64, empty ones among them.
std::vector<wire::ByteSpan> Cut(wire::ByteSpan bytes, uint8_t seed) {
  if (seed % 64 == 0) return {bytes};
  std::vector<wire::ByteSpan> slices;
  for (size_t length = seed; !bytes.empty(); length = (length + seed) % 64) {
    const size_t taken = std::min(length, bytes.size());
    slices.push_back(bytes.first(taken));
    bytes = bytes.subspan(taken);
  }
  return slices;
}

// Limits are the codec's own, and it refuses a field 1000 of another type than bytes.
bool OnlyTheCodecRefuses(const absl::Status& status) {
  return DetailsOf(status).reason == reason::kFrameTooLarge ||
         status.message().find("field 1000 is not of type bytes") != absl::string_view::npos;
}

// With maps in order.
std::string Bytes(const google::protobuf::MessageLite& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializePartialToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

template <typename Message>
std::string Compare(std::span<const uint8_t> bytes, uint8_t seed) {
  const google::protobuf::LogSilencer silencer;  // the parser logs every string that is not UTF-8
  const absl::StatusOr<wire::SplitFrame> frame = wire::Split(Cut(std::as_bytes(bytes), seed));
  const absl::StatusOr<wire::SplitFrame> apart = wire::Split(Cut(std::as_bytes(bytes), seed), 2);
  if (apart.ok() != frame.ok()) return "a field that is kept apart decides whether it is a frame";
  if (frame.ok() && apart->data_bytes != frame->data_bytes) return "a field that is kept apart changes the data";
  if (!frame.ok() && OnlyTheCodecRefuses(frame.status())) return "";
  Message expected, parsed;
  const bool accepted = expected.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  const bool taken = frame.ok() && parsed.ParseFromString(frame->fields);
  if (taken != accepted) return accepted ? "refused: " + frame.status().ToString() : "taken, not by the parser";
  if (!accepted) return "";

  std::string data;
  for (const wire::ByteSpan part : frame->data) data.append(reinterpret_cast<const char*>(part.data()), part.size());
  if (data.size() != frame->data_bytes) return "data_bytes is not the parts' sum";
  const std::string encoded = wire::EncodeHead(parsed, data.size()) + data;
  parsed.set_data(data);
  if (Bytes(parsed) != Bytes(expected)) return "another message than the parser's";
  Message again;
  if (!again.ParseFromString(encoded) || Bytes(again) != Bytes(expected)) {
    return "encoded as another message";
  }
  return "";
}

}  // namespace

std::string FuzzFrame(std::span<const uint8_t> input) {
  if (input.size() < 2) return "";
  const std::span<const uint8_t> bytes = input.subspan(2);
  switch (input[0] % 4) {
    case 0:
      return Compare<v1::QuantizeRequest>(bytes, input[1]);
    case 1:
      return Compare<v1::QuantizeResponse>(bytes, input[1]);
    case 2:
      return Compare<v1::DequantizeRequest>(bytes, input[1]);
    default:
      return Compare<v1::DequantizeResponse>(bytes, input[1]);
  }
}

}  // namespace quantd::testing

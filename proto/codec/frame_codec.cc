#include "proto/codec/frame_codec.h"

#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/str_cat.h"
#include "google/protobuf/message_lite.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::wire {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kStartGroup = 3, kEndGroup = 4, kFixed32 = 5 };

constexpr uint32_t kPiecesField = 3;
constexpr uint32_t kDataField = 1000;
constexpr uint32_t kDataTag = kDataField << 3 | kBytes;
// Limits of protobuf's own parser, so that both accept the same bytes.
constexpr size_t kGroupDepthMax = 100;
constexpr int kTagBytesMax = 5;
constexpr int kVarintBytesMax = 10;
constexpr uint64_t kLengthMax = 0x7FFFFFEF;

absl::Status Malformed(const std::string& what) {
  return InvalidArgument(reason::kMalformedFrame,
                         absl::StrCat("The frame is not a protobuf message: ", what,
                                      ". Send what the generated code of quantd.v1 serializes."));
}

absl::Status TooLarge(const std::string& what, uint64_t limit) {
  return InvalidArgument(reason::kFrameTooLarge,
                         absl::StrCat("The frame has more than ", limit, " ", what, ". Send smaller frames."),
                         {{"limit", absl::StrCat(limit)}, {"of", what}});
}

// Reads bytes that lie in pieces.
class Reader {
 public:
  explicit Reader(std::span<const ByteSpan> slices) : slices_(slices) {
    for (const ByteSpan& slice : slices) remaining_ += slice.size();
  }

  uint64_t remaining() const { return remaining_; }

  // `count` must not exceed remaining(). `use` gets each contiguous part.
  template <typename Use>
  void Take(uint64_t count, Use use) {
    remaining_ -= count;
    while (count > 0) {
      const ByteSpan rest = slices_[slice_].subspan(position_);
      const size_t part = std::min<uint64_t>(count, rest.size());
      if (part > 0) use(rest.first(part));
      count -= part;
      position_ += part;
      if (position_ == slices_[slice_].size()) {
        ++slice_;
        position_ = 0;
      }
    }
  }

  // Appends the bytes to `raw` too. Nothing if they end too early or the varint is longer than bytes_max.
  std::optional<uint64_t> TakeVarint(int bytes_max, std::string& raw) {
    uint64_t value = 0;
    for (int i = 0; i < bytes_max && remaining_ > 0; ++i) {
      uint8_t byte = 0;
      Take(1, [&byte](ByteSpan part) { byte = static_cast<uint8_t>(part[0]); });
      raw.push_back(static_cast<char>(byte));
      value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

 private:
  std::span<const ByteSpan> slices_;
  size_t slice_ = 0;
  size_t position_ = 0;
  uint64_t remaining_ = 0;
};

class Splitter {
 public:
  Splitter(std::span<const ByteSpan> slices, uint32_t apart) : reader_(slices), apart_(apart) {}

  absl::StatusOr<SplitFrame> Run() {
    while (reader_.remaining() > 0) {
      if (absl::Status status = Field(); !status.ok()) return status;
    }
    if (!open_groups_.empty()) return Malformed("a group does not end");
    return std::move(frame_);
  }

 private:
  absl::Status Field() {
    const size_t field_begin = frame_.fields.size();
    const std::optional<uint64_t> wide_tag = reader_.TakeVarint(kTagBytesMax, frame_.fields);
    if (!wide_tag.has_value()) return Malformed("a tag is cut off or too long");
    // As protobuf's parser: bits beyond 32 do not count.
    const uint32_t tag = static_cast<uint32_t>(*wide_tag);
    const uint32_t number = tag >> 3;
    if (number == 0) return Malformed("field number 0");
    const bool top_level = open_groups_.empty();
    if (top_level && number == kDataField) {
      if (tag != kDataTag) return Malformed("field 1000 is not of type bytes");
      frame_.fields.resize(field_begin);
      return Data();
    }
    switch (tag & 7) {
      case kVarint:
        if (!reader_.TakeVarint(kVarintBytesMax, frame_.fields)) return Malformed("a varint is cut off or too long");
        return FieldsWithinLimit();
      case kFixed64:
        return Keep(8, frame_.fields);
      case kFixed32:
        return Keep(4, frame_.fields);
      case kBytes: {
        if (top_level && number == kPiecesField && ++pieces_ > kFramePiecesMax) {
          return TooLarge("pieces", kFramePiecesMax);
        }
        const std::optional<uint64_t> length = Length(frame_.fields);
        if (!length.has_value()) return Malformed("a length is cut off or too long");
        if (!top_level || number != apart_) return Keep(*length, frame_.fields);
        frame_.fields.resize(field_begin);
        return Keep(*length, frame_.apart);
      }
      case kStartGroup:
        if (open_groups_.size() == kGroupDepthMax) return Malformed("groups are nested too deep");
        open_groups_.push_back(number);
        return FieldsWithinLimit();
      case kEndGroup:
        if (top_level || open_groups_.back() != number) return Malformed("a group ends that did not begin");
        open_groups_.pop_back();
        return FieldsWithinLimit();
      default:
        return Malformed("an unknown wire type");
    }
  }

  absl::Status Data() {
    std::string unused;
    const std::optional<uint64_t> length = Length(unused);
    if (!length.has_value()) return Malformed("the length of field 1000 is cut off or too long");
    if (*length > reader_.remaining()) return Malformed("field 1000 is cut off");
    if (*length > kFrameDataBytesMax) return TooLarge("data bytes", kFrameDataBytesMax);
    frame_.data.clear();
    frame_.data_bytes = *length;
    reader_.Take(*length, [this](ByteSpan part) { frame_.data.push_back(part); });
    return absl::OkStatus();
  }

  std::optional<uint64_t> Length(std::string& raw) {
    const std::optional<uint64_t> length = reader_.TakeVarint(kTagBytesMax, raw);
    if (!length.has_value() || *length > kLengthMax) return std::nullopt;
    return length;
  }

  absl::Status Keep(uint64_t bytes, std::string& target) {
    if (bytes > reader_.remaining()) return Malformed("a field is cut off");
    if (bytes > kFrameFieldsBytesMax) return TooLarge("bytes outside of data", kFrameFieldsBytesMax);
    reader_.Take(bytes,
                 [&target](ByteSpan part) { target.append(reinterpret_cast<const char*>(part.data()), part.size()); });
    return FieldsWithinLimit();
  }

  absl::Status FieldsWithinLimit() const {
    if (frame_.fields.size() + frame_.apart.size() <= kFrameFieldsBytesMax) return absl::OkStatus();
    return TooLarge("bytes outside of data", kFrameFieldsBytesMax);
  }

  Reader reader_;
  const uint32_t apart_;
  SplitFrame frame_;
  std::vector<uint32_t> open_groups_;
  uint32_t pieces_ = 0;
};

void AppendVarint(uint64_t value, std::string& target) {
  for (; value >= 0x80; value >>= 7) target.push_back(static_cast<char>(value | 0x80));
  target.push_back(static_cast<char>(value));
}

}  // namespace

absl::StatusOr<SplitFrame> Split(std::span<const ByteSpan> slices, uint32_t apart) {
  return Splitter(slices, apart).Run();
}

std::string EncodeHead(const google::protobuf::MessageLite& fields, uint64_t data_bytes, std::string_view more_fields) {
  std::string head = fields.SerializeAsString();
  head.append(more_fields);
  if (data_bytes > 0) {
    AppendVarint(kDataTag, head);
    AppendVarint(data_bytes, head);
  }
  return head;
}

std::string EncodeMessageField(uint32_t field, std::initializer_list<std::string_view> parts) {
  uint64_t bytes = 0;
  for (const std::string_view part : parts) bytes += part.size();
  std::string encoded;
  encoded.reserve(kTagBytesMax + kVarintBytesMax + bytes);
  AppendVarint(field << 3 | kBytes, encoded);
  AppendVarint(bytes, encoded);
  for (const std::string_view part : parts) encoded.append(part);
  return encoded;
}

}  // namespace quantd::wire

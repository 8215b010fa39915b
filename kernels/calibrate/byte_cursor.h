// Little-endian numbers into and out of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/float16.h"

namespace quantd {

// Seven bits a byte, the lowest first; all bytes but the last have bit 7 set.
inline constexpr size_t kVarintBytesMax = 10;

class ByteAppender {
 public:
  template <class T>
  void Number(T value) {
    Append(&value, sizeof(value));
  }
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<std::byte>(value | 0x80));
    bytes_.push_back(static_cast<std::byte>(value));
  }
  void Text(std::string_view text) { Append(text.data(), text.size()); }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void Append(const void* source, size_t bytes) {
    bytes_.resize(bytes_.size() + bytes);
    std::memcpy(bytes_.data() + bytes_.size() - bytes, source, bytes);
  }

  std::vector<std::byte> bytes_;
};

// Reads what strangers wrote: beyond the end, and of a varint that is longer than it need be, there is nothing.
class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t left() const { return bytes_.size(); }

  template <class T>
  std::optional<T> Number() {
    if (bytes_.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data(), sizeof(value));
    bytes_ = bytes_.subspan(sizeof(value));
    return value;
  }
  std::optional<uint64_t> Varint() {
    uint64_t value = 0;
    for (size_t i = 0; i < kVarintBytesMax && i < bytes_.size(); ++i) {
      const auto byte = static_cast<uint8_t>(bytes_[i]);
      const uint64_t bits = byte & 0x7fu;
      if (i == kVarintBytesMax - 1 && bits > 1) return std::nullopt;
      value |= bits << (7 * i);
      if ((byte & 0x80u) != 0) continue;
      if (byte == 0 && i != 0) return std::nullopt;
      bytes_ = bytes_.subspan(i + 1);
      return value;
    }
    return std::nullopt;
  }
  std::optional<std::string> Text(size_t bytes) {
    if (bytes_.size() < bytes) return std::nullopt;
    std::string text(reinterpret_cast<const char*>(bytes_.data()), bytes);
    bytes_ = bytes_.subspan(bytes);
    return text;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace quantd

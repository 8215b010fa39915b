// Fields as bytes, one description for both directions, so that what is written is what is read.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace quantd::server {

// Numbers are little-endian, texts and arrays have their length before them. Never fails: the caller has kept to the
// maxima.
class ArchiveWriter {
 public:
  ArchiveWriter() { bytes_.reserve(kUsualBytes); }

  template <std::integral Number>
  void Integer(Number& value) {
    auto rest = static_cast<std::make_unsigned_t<Number>>(value);
    for (size_t i = 0; i < sizeof(Number); ++i, rest = static_cast<decltype(rest)>(uint64_t{rest} >> 8)) {
      bytes_.push_back(static_cast<std::byte>(rest & 0xff));
    }
  }
  void Float(float& value) {
    auto bits = std::bit_cast<uint32_t>(value);
    Integer(bits);
  }
  template <class Enum>
  void Enumerator(Enum& value, Enum, Enum) {
    auto number = static_cast<uint8_t>(value);
    Integer(number);
  }
  void Text(std::string& value, size_t) {
    Length(value.size());
    for (const char c : value) bytes_.push_back(static_cast<std::byte>(c));
  }
  void Bytes(std::vector<std::byte>& value, size_t) {
    Length(value.size());
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void Integers(std::vector<uint64_t>& values, size_t) {
    Length(values.size());
    for (uint64_t& value : values) Integer(value);
  }
  void Texts(std::map<std::string, std::string>& values, size_t, size_t text_bytes_max) {
    Length(values.size());
    for (auto& [name, value] : values) {
      std::string copy = name;
      Text(copy, text_bytes_max);
      Text(value, text_bytes_max);
    }
  }
  void Optional(std::optional<float>& value) {
    uint8_t present = value.has_value();
    Integer(present);
    if (value.has_value()) Float(*value);
  }

  std::vector<std::byte> Take() { return std::move(bytes_); }

 private:
  void Length(size_t length) {
    auto number = static_cast<uint16_t>(length);
    Integer(number);
  }

  static constexpr size_t kUsualBytes = 512;

  std::vector<std::byte> bytes_;
};

// Reads what a stranger wrote. After the first thing that is wrong, `ok` is false for good and values are zero.
class ArchiveReader {
 public:
  explicit ArchiveReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }

  template <std::integral Number>
  void Integer(Number& value) {
    value = 0;
    const auto bytes = Next(sizeof(Number));
    uint64_t number = 0;
    for (size_t i = bytes.size(); i > 0; --i) number = number << 8 | static_cast<uint64_t>(bytes[i - 1]);
    value = static_cast<Number>(number);
  }
  void Float(float& value) {
    uint32_t bits = 0;
    Integer(bits);
    value = std::bit_cast<float>(bits);
  }
  template <class Enum>
  void Enumerator(Enum& value, Enum first, Enum last) {
    uint8_t number = 0;
    Integer(number);
    if (number < static_cast<uint8_t>(first) || number > static_cast<uint8_t>(last)) ok_ = false;
    value = ok_ ? static_cast<Enum>(number) : first;
  }
  void Text(std::string& value, size_t bytes_max) {
    const auto bytes = Next(Length(bytes_max));
    value.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void Bytes(std::vector<std::byte>& value, size_t bytes_max) {
    const auto bytes = Next(Length(bytes_max));
    value.assign(bytes.begin(), bytes.end());
  }
  void Integers(std::vector<uint64_t>& values, size_t count_max) {
    values.resize(Length(count_max));
    for (uint64_t& value : values) Integer(value);
  }
  // Names must ascend: equal maps are equal bytes.
  void Texts(std::map<std::string, std::string>& values, size_t count_max, size_t text_bytes_max) {
    values.clear();
    for (size_t left = Length(count_max); left > 0 && ok_; --left) {
      std::string name, value;
      Text(name, text_bytes_max);
      Text(value, text_bytes_max);
      if (!values.empty() && values.rbegin()->first >= name) ok_ = false;
      values.emplace_hint(values.end(), std::move(name), std::move(value));
    }
  }
  void Optional(std::optional<float>& value) {
    value.reset();
    uint8_t present = 0;
    Integer(present);
    if (present > 1) ok_ = false;
    if (ok_ && present == 1) Float(value.emplace());
  }

 private:
  size_t Length(size_t max) {
    uint16_t length = 0;
    Integer(length);
    if (length > max) ok_ = false;
    return ok_ ? length : 0;
  }
  std::span<const std::byte> Next(size_t count) {
    if (!ok_ || count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const auto next = rest_.first(count);
    rest_ = rest_.subspan(count);
    return next;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace quantd::server

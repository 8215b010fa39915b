#include "server/conversion/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::server {
namespace {

constexpr char kMetadataKey[] = "__metadata__";

std::optional<uint64_t> ElementCount(const std::vector<uint64_t>& shape) {
  // An extent of 0 makes any product 0, whatever the others say.
  if (std::find(shape.begin(), shape.end(), 0u) != shape.end()) return 0;
  uint64_t count = 1;
  for (const uint64_t extent : shape) {
    const std::optional<uint64_t> product = CheckedMul(count, extent);
    if (!product.has_value()) return std::nullopt;
    count = *product;
  }
  return count;
}

absl::StatusOr<uint64_t> SizeBytes(const std::string& name, const SafetensorsDtype& dtype,
                                   const std::vector<uint64_t>& shape) {
  const std::optional<uint64_t> elements = ElementCount(shape);
  const std::optional<uint64_t> bytes = elements.has_value() ? BytesOf(dtype, *elements) : std::nullopt;
  if (!bytes.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quoted(name), ": dtype and shape do not make a whole number of bytes below 2^61"));
  }
  return *bytes;
}

// Takes the header apart while it is read: no document tree, so a hostile header costs no more than its own tensors.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader TakeHeader() { return std::move(header_); }
  absl::Status status() const { return status_; }

  bool start_object(std::size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ == Place::kTop) {
      place_ = in_metadata_ ? Place::kMetadata : Place::kTensor;
      return true;
    }
    return Misplaced("an object");
  }

  bool key(std::string& key) override {
    key_ = key;
    if (place_ == Place::kTop) return BeginMember();
    if (place_ == Place::kMetadata) {
      if (header_.metadata.count(key) > 0) return Refuse("metadata key " + Quoted(key) + " is there twice");
      return true;
    }
    if (key == "dtype") return BeginField(has_dtype_);
    if (key == "shape") return BeginField(has_shape_);
    if (key == "data_offsets") return BeginField(has_offsets_);
    return Refuse(Where() + "key " + Quoted(key) + " is not one of dtype, shape, data_offsets");
  }

  bool end_object() override {
    if (place_ == Place::kTop) {
      place_ = Place::kEnd;
      return true;
    }
    if (place_ == Place::kTensor) {
      if (!has_dtype_ || !has_shape_ || !has_offsets_) {
        return Refuse(Where() + "needs dtype, shape and data_offsets");
      }
      header_.tensors.push_back(std::move(entry_));
    }
    place_ = Place::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kTensor) return Misplaced("an array");
    if (key_ == "shape") place_ = Place::kShape;
    if (key_ == "data_offsets") place_ = Place::kOffsets;
    return place_ != Place::kTensor || Misplaced("an array");
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_.size() != 2) return Refuse(Where() + "data_offsets must be two numbers");
    if (place_ == Place::kOffsets) {
      entry_.begin_bytes = offsets_[0];
      entry_.end_bytes = offsets_[1];
    }
    place_ = Place::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (entry_.shape.size() == kSafetensorsRankMax) {
        return Refuse(absl::StrCat(Where(), "has more than ", kSafetensorsRankMax, " extents"));
      }
      entry_.shape.push_back(value);
      return true;
    }
    if (place_ == Place::kOffsets && offsets_.size() < 2) {
      offsets_.push_back(value);
      return true;
    }
    return Misplaced("a number");
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata.emplace(key_, value);
      return true;
    }
    if (place_ != Place::kTensor || key_ != "dtype") return Misplaced("a string");
    const std::optional<SafetensorsDtype> dtype = SafetensorsDtypeNamed(value);
    if (!dtype.has_value()) return Refuse(Where() + "has the unknown dtype " + Quoted(value));
    entry_.dtype = *dtype;
    return true;
  }

  bool number_integer(number_integer_t) override { return Misplaced("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return Misplaced("a fraction or a huge number"); }
  bool boolean(bool) override { return Misplaced("a boolean"); }
  bool null() override { return Misplaced("null"); }
  bool binary(binary_t&) override { return Misplaced("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    return Refuse(absl::StrCat("the header is not JSON at byte ", position, " (", Printable(error.what()), ")"));
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  bool BeginMember() {
    in_metadata_ = key_ == kMetadataKey;
    if (!names_.insert(key_).second) return Refuse(Quoted(key_) + " is there twice");
    entry_ = SafetensorsEntry{};
    entry_.name = key_;
    offsets_.clear();
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return true;
  }

  bool BeginField(bool& seen) {
    if (seen) return Refuse(Where() + "key " + Quoted(key_) + " is there twice");
    seen = true;
    return true;
  }

  std::string Where() const { return absl::StrCat("tensor ", Quoted(entry_.name), ": "); }

  bool Misplaced(const char* what) {
    const bool top = place_ == Place::kStart || place_ == Place::kTop || place_ == Place::kEnd;
    return Refuse(absl::StrCat(what, " is out of place", top ? "" : " at key ", top ? "" : Quoted(key_)));
  }

  bool Refuse(const std::string& message) {
    status_ = absl::InvalidArgumentError(message);
    return false;
  }

  SafetensorsHeader header_;
  absl::Status status_;
  Place place_ = Place::kStart;
  std::unordered_set<std::string> names_;
  std::string key_;
  bool in_metadata_ = false;
  SafetensorsEntry entry_;
  std::vector<uint64_t> offsets_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

// Throws nlohmann::json::type_error for a name that is not UTF-8.
std::string EntryJson(const SafetensorsEntry& entry) {
  return absl::StrCat(nlohmann::json(entry.name).dump(), ":{\"dtype\":\"", std::string(entry.dtype.name),
                      "\",\"shape\":[", absl::StrJoin(entry.shape, ","), "],\"data_offsets\":[", entry.begin_bytes, ",",
                      entry.end_bytes, "]}");
}

absl::Status CheckPlaces(const std::vector<SafetensorsEntry>& tensors, uint64_t data_bytes) {
  uint64_t filled_bytes = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    const std::string where = absl::StrCat("tensor ", Quoted(tensor.name), ": ");
    if (tensor.begin_bytes != filled_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(where, "data_offsets begin at ", tensor.begin_bytes,
                                                     " where the tensors before it end at ", filled_bytes));
    }
    if (tensor.end_bytes < tensor.begin_bytes || tensor.end_bytes > data_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(where, "data_offsets [", tensor.begin_bytes, ", ",
                                                     tensor.end_bytes, "] do not lie in the file's ", data_bytes,
                                                     " bytes of data; is the file complete?"));
    }
    QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes, SizeBytes(tensor.name, tensor.dtype, tensor.shape));
    if (bytes != tensor.size_bytes()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "dtype and shape need ", bytes, " bytes, data_offsets say ", tensor.size_bytes()));
    }
    filled_bytes = tensor.end_bytes;
  }
  if (filled_bytes != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the tensors end at byte ", filled_bytes, " of ", data_bytes, " bytes of data"));
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t SafetensorsEntry::element_count() const { return ElementCount(shape).value_or(0); }

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json, uint64_t data_bytes) {
  // The JSON library takes a NUL for the end of its input, and skips a byte order mark.
  if (json.empty() || json.front() != '{' || json.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError("the header is not a JSON object; is this a safetensors file?");
  }
  HeaderReader reader;
  const bool complete = nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  if (!complete) return reader.status();
  SafetensorsHeader header = reader.TakeHeader();
  std::sort(header.tensors.begin(), header.tensors.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin_bytes, a.end_bytes, a.name) < std::tie(b.begin_bytes, b.end_bytes, b.name);
  });
  QUANTD_RETURN_IF_ERROR(CheckPlaces(header.tensors, data_bytes));
  return header;
}

absl::StatusOr<SafetensorsLayout> LayOutSafetensors(std::vector<SafetensorsDeclaration> declarations,
                                                    const std::map<std::string, std::string>& metadata) {
  std::sort(declarations.begin(), declarations.end(),
            [](const SafetensorsDeclaration& a, const SafetensorsDeclaration& b) {
              return std::tie(b.dtype.rank, a.name) < std::tie(a.dtype.rank, b.name);
            });
  SafetensorsLayout layout;
  std::string json = "{";
  try {
    if (!metadata.empty()) json += absl::StrCat("\"", kMetadataKey, "\":", nlohmann::json(metadata).dump());
    std::unordered_set<std::string> names{kMetadataKey};
    for (SafetensorsDeclaration& declaration : declarations) {
      if (!names.insert(declaration.name).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("a file cannot hold two tensors named ", Quoted(declaration.name)));
      }
      QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes, SizeBytes(declaration.name, declaration.dtype, declaration.shape));
      const std::optional<uint64_t> end_bytes = CheckedAdd(layout.data_bytes, bytes);
      if (!end_bytes.has_value()) return absl::InvalidArgumentError("the tensors together exceed 2^64 bytes");
      layout.tensors.push_back(SafetensorsEntry{std::move(declaration.name), declaration.dtype,
                                                std::move(declaration.shape), layout.data_bytes, *end_bytes});
      absl::StrAppend(&json, json.size() > 1 ? "," : "", EntryJson(layout.tensors.back()));
      layout.data_bytes = *end_bytes;
    }
  } catch (const nlohmann::json::type_error&) {
    return absl::InvalidArgumentError("tensor names and metadata of a safetensors file must be UTF-8");
  }
  json += "}";
  json.resize(AlignUp(json.size(), 8), ' ');
  if (json.size() > kSafetensorsHeaderBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header would be ", json.size(), " bytes, the format allows ", kSafetensorsHeaderBytesMax));
  }
  for (uint64_t length = json.size(), i = 0; i < kSafetensorsLengthBytes; ++i) {
    layout.prefix += static_cast<char>(length >> (8 * i) & 0xFF);
  }
  layout.prefix += json;
  return layout;
}

}  // namespace quantd::server

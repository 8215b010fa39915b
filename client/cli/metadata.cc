#include "client/cli/metadata.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using nlohmann::json;
using server::Quoted;

constexpr int kVersion = 1;

absl::Status Malformed(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("the metadata \"", kMetadataKey, "\" is malformed: ", what));
}

// The member of that name and type; null if there is none.
const json* Member(const json& object, const char* key, json::value_t type) {
  const auto found = object.find(key);
  return found != object.end() && found->type() == type ? &*found : nullptr;
}

absl::StatusOr<SchemeRequest> ParseScheme(const json& object, const std::string& where) {
  const json* preset = Member(object, "preset", json::value_t::string);
  const json* overrides = Member(object, "overrides", json::value_t::object);
  const json* revision = Member(object, "format_revision", json::value_t::number_unsigned);
  if (preset == nullptr || overrides == nullptr || revision == nullptr || *revision > UINT32_MAX) {
    return Malformed(where + "its scheme needs preset, overrides and format_revision");
  }
  SchemeRequest scheme{preset->get<std::string>(), {}, revision->get<uint32_t>()};
  for (const auto& [key, value] : overrides->items()) {
    if (!value.is_string()) return Malformed(where + "override " + Quoted(key) + " is not a string");
    scheme.overrides.emplace(key, value.get<std::string>());
  }
  return scheme;
}

absl::StatusOr<ConvertedTensor> ParseTensor(const json& object, const std::string& where) {
  const json* scheme = Member(object, "scheme", json::value_t::object);
  const json* dtype = Member(object, "dtype", json::value_t::string);
  const json* shape = Member(object, "shape", json::value_t::array);
  if (scheme == nullptr || dtype == nullptr || shape == nullptr) {
    return Malformed(where + "needs scheme, dtype and shape");
  }
  ConvertedTensor tensor;
  QUANTD_ASSIGN_OR_RETURN(tensor.scheme, ParseScheme(*scheme, where));
  const std::optional<DataType> type = DataTypeNamed(dtype->get_ref<const std::string&>());
  if (!type.has_value() || !InfoOf(*type).is_float) return Malformed(where + "its dtype is not a float type");
  tensor.dtype = *type;
  for (const json& extent : *shape) {
    if (!extent.is_number_unsigned()) return Malformed(where + "its shape is not a list of sizes");
    tensor.shape.push_back(extent.get<uint64_t>());
  }
  return tensor;
}

}  // namespace

std::string FormatMetadata(const ConvertedTensors& tensors) {
  json list = json::object();
  for (const auto& [name, tensor] : tensors) {
    list[name] = {{"scheme",
                   {{"preset", tensor.scheme.preset},
                    {"overrides", tensor.scheme.overrides},
                    {"format_revision", tensor.scheme.format_revision}}},
                  {"dtype", std::string(InfoOf(tensor.dtype).name)},
                  {"shape", tensor.shape}};
  }
  return json{{"version", kVersion}, {"tensors", std::move(list)}}.dump();
}

absl::StatusOr<ConvertedTensors> ParseMetadata(const std::string& text) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return Malformed("not a JSON object");
  const json* version = Member(document, "version", json::value_t::number_unsigned);
  if (version == nullptr) return Malformed("no version");
  if (*version != kVersion) {
    return absl::InvalidArgumentError(absl::StrCat("the metadata \"", kMetadataKey, "\" has version ", version->dump(),
                                                   ", this program knows ", kVersion, "; use a newer quantctl"));
  }
  const json* tensors = Member(document, "tensors", json::value_t::object);
  if (tensors == nullptr) return Malformed("no tensors");
  ConvertedTensors converted;
  for (const auto& [name, object] : tensors->items()) {
    const std::string where = absl::StrCat("tensor ", Quoted(name), ": ");
    if (!object.is_object()) return Malformed(where + "not an object");
    QUANTD_ASSIGN_OR_RETURN(converted[name], ParseTensor(object, where));
  }
  return converted;
}

absl::StatusOr<ConvertedTensors> ConvertedTensorsOf(const std::map<std::string, std::string>& file_metadata) {
  const auto found = file_metadata.find(kMetadataKey);
  if (found == file_metadata.end()) return ConvertedTensors{};
  return ParseMetadata(found->second);
}

std::string SegmentTensorName(const std::string& tensor, const std::string& segment) { return tensor + "." + segment; }

}  // namespace quantd::cli

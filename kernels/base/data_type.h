// Element types of the arrays that schemes read and make.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace quantd {

// Values equal quantd.v1.DataType; 0 is not a type.
enum class DataType : uint8_t {
  kFloat32 = 1,
  kFloat16 = 2,
  kBFloat16 = 3,
  kUint8 = 4,
  kInt8 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kFloat8E4m3 = 8,
  kFloat8E5m2 = 9
};

struct DataTypeInfo {
  DataType type;
  std::string_view name;              // as on the command line: "float32"
  std::string_view safetensors_name;  // as in a safetensors header: "F32"
  uint32_t size_bytes;
  bool is_float;  // can be the values of a tensor
};

inline constexpr DataTypeInfo kDataTypes[] = {
    {DataType::kFloat32, "float32", "F32", 4, true},
    {DataType::kFloat16, "float16", "F16", 2, true},
    {DataType::kBFloat16, "bfloat16", "BF16", 2, true},
    {DataType::kUint8, "uint8", "U8", 1, false},
    {DataType::kInt8, "int8", "I8", 1, false},
    {DataType::kInt32, "int32", "I32", 4, false},
    {DataType::kInt64, "int64", "I64", 8, false},
    {DataType::kFloat8E4m3, "float8_e4m3", "F8_E4M3", 1, false},
    {DataType::kFloat8E5m2, "float8_e5m2", "F8_E5M2", 1, false},
};

constexpr const DataTypeInfo& InfoOf(DataType type) { return kDataTypes[static_cast<uint8_t>(type) - 1]; }
constexpr uint32_t SizeBytes(DataType type) { return InfoOf(type).size_bytes; }

// The type of that name, in either spelling; nothing if there is none.
constexpr std::optional<DataType> DataTypeNamed(std::string_view name) {
  for (const DataTypeInfo& info : kDataTypes) {
    if (name == info.name || name == info.safetensors_name) return info.type;
  }
  return std::nullopt;
}

// The type of that number in quantd.v1.DataType; nothing if there is none.
constexpr std::optional<DataType> DataTypeNumbered(int number) {
  for (const DataTypeInfo& info : kDataTypes) {
    if (static_cast<int>(info.type) == number) return info.type;
  }
  return std::nullopt;
}

}  // namespace quantd

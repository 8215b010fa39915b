// Data for comparing loops: values of every kind, memory with guards, shapes.
#pragma once

#include <gtest/gtest.h>
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>
#include "kernels/cpu/kernel_table.h"
#include "kernels/format/format_list.h"
#include "kernels/format/value_types.h"

namespace quantd {

using Random = std::mt19937_64;
using Bytes = std::vector<std::byte>;

inline constexpr uint64_t kRunLengths[] = {1,  2,  3,   15,  16,  17,  31,  32,   33,   48,   64,
                                           65, 96, 100, 128, 200, 256, 384, 1000, 1024, 4096, 5000};
inline constexpr size_t kGuard = 64;
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Memory between guard bytes, at any alignment.
class Guarded {
 public:
  Guarded(size_t bytes, size_t misalignment)
      : memory_(kGuard * 2 + bytes + 8, std::byte{0xa5}), offset_(kGuard + misalignment) {}
  std::byte* data() { return memory_.data() + offset_; }
  bool operator==(const Guarded& other) const { return memory_ == other.memory_; }
  size_t FirstDifference(const Guarded& other) const {
    return static_cast<size_t>(std::mismatch(memory_.begin(), memory_.end(), other.memory_.begin()).first -
                               memory_.begin()) -
           offset_;
  }

 private:
  Bytes memory_;
  size_t offset_;
};

// ---- Data ----

enum class Data { kOrdinary, kEdges, kAllBits, kNonfinite };
inline constexpr Data kAllData[] = {Data::kOrdinary, Data::kEdges, Data::kAllBits, Data::kNonfinite};

// Wherever a codec may decide one way or the other, and where floats end.
inline std::vector<float> MakeEdges() {
  std::vector<float> middles = {0.0f,
                                0x1p-149f,
                                0x1p-127f,
                                0x1p-126f,
                                0x1p-102f,
                                0x1p-80f,
                                1.0f,
                                1.001f,
                                2.0f,
                                0x1p31f,
                                0x1p100f,
                                0x1p127f,
                                std::numeric_limits<float>::max(),
                                65504.0f,
                                65520.0f};
  for (const float threshold : kNf4Thresholds) middles.push_back(std::fabs(threshold));
  for (const float threshold : kFp4BnbThresholds) middles.push_back(threshold);
  for (const float boundary : kDynamic8Boundaries) middles.push_back(std::fabs(boundary));
  for (int k = 0; k <= 270; ++k) middles.push_back(static_cast<float>(k) / 2);
  for (uint32_t code = 0; code < Fp8E4m3::kLargestCode; ++code) {
    middles.push_back((Fp8E4m3::Decode(code) + Fp8E4m3::Decode(code + 1)) / 2);
  }
  for (uint32_t code = 0; code < Fp8E5m2::kLargestCode; ++code) {
    middles.push_back((Fp8E5m2::Decode(code) + Fp8E5m2::Decode(code + 1)) / 2);
  }
  std::vector<float> edges;
  for (const float middle : middles) {
    const auto bits = std::bit_cast<uint32_t>(middle);
    for (uint32_t near = bits < 2 ? 0 : bits - 2; near <= std::min(bits + 2, 0x7f7fffffu); ++near) {
      edges.push_back(std::bit_cast<float>(near));
      edges.push_back(-std::bit_cast<float>(near));
    }
  }
  return edges;
}

inline float AnyFloat(Random& random) { return std::bit_cast<float>(static_cast<uint32_t>(random())); }

inline float FiniteFloat(Random& random) {
  for (;;) {
    const float value = AnyFloat(random);
    if (std::isfinite(value)) return value;
  }
}

inline float OrdinaryFloat(Random& random) {
  static std::normal_distribution<float> normal;
  return normal(random);
}

template <class Values>
void StoreValue(std::byte* values, size_t index, float value) {
  using Bits = typename Values::Bits;
  StoreUnaligned(values + index * sizeof(Bits), Values::Narrow(value));
}

inline void StoreValue(size_t type, std::byte* values, size_t index, float value) {
  if (type == FloatTypeIndex(DataType::kFloat32)) StoreValue<Float32Values>(values, index, value);
  if (type == FloatTypeIndex(DataType::kFloat16)) StoreValue<Float16Values>(values, index, value);
  if (type == FloatTypeIndex(DataType::kBFloat16)) StoreValue<BFloat16Values>(values, index, value);
}

template <class Values>
void FillValues(Data data, Random& random, size_t count, std::byte* values) {
  static const std::vector<float> edges = MakeEdges();
  using Bits = typename Values::Bits;
  const float magnitude = std::ldexp(1.0f, static_cast<int>(random() % 12) - 6);
  const uint64_t first = random();
  for (size_t i = 0; i < count; ++i) {
    switch (data) {
      case Data::kOrdinary:
        StoreValue<Values>(values, i,
                           random() % 500 == 0 ? OrdinaryFloat(random) * 100 : OrdinaryFloat(random) * magnitude);
        break;
      case Data::kEdges:
        StoreValue<Values>(values, i, edges[(first + i) % edges.size()]);
        break;
      case Data::kAllBits:
        StoreUnaligned(values + i * sizeof(Bits), static_cast<Bits>(sizeof(Bits) == 2 ? first + i * 13 : random()));
        break;
      case Data::kNonfinite:
        StoreValue<Values>(values, i, OrdinaryFloat(random));
        if (random() % 40 == 0) StoreUnaligned(values + i * sizeof(Bits), static_cast<Bits>(Values::kInfinity));
        if (random() % 40 == 0)
          StoreUnaligned(values + i * sizeof(Bits), static_cast<Bits>(random() | Values::kInfinity));
        break;
    }
  }
  // Some runs of zeros.
  if (count > 300 && random() % 4 == 0) std::memset(values + 64 * sizeof(Bits), 0, 128 * sizeof(Bits));
}

inline void FillValues(size_t type, Data data, Random& random, size_t count, std::byte* values) {
  if (type == FloatTypeIndex(DataType::kFloat32)) FillValues<Float32Values>(data, random, count, values);
  if (type == FloatTypeIndex(DataType::kFloat16)) FillValues<Float16Values>(data, random, count, values);
  if (type == FloatTypeIndex(DataType::kBFloat16)) FillValues<BFloat16Values>(data, random, count, values);
}

// Each of the values times `factor`, in their type.
template <class Values>
void MultiplyValues(float factor, size_t count, std::byte* values) {
  using Bits = typename Values::Bits;
  for (size_t i = 0; i < count; ++i) {
    StoreValue<Values>(values, i, Values::Widen(LoadUnaligned<Bits>(values + i * sizeof(Bits))) * factor);
  }
}
inline void MultiplyValues(size_t type, float factor, size_t count, std::byte* values) {
  if (type == FloatTypeIndex(DataType::kFloat32)) MultiplyValues<Float32Values>(factor, count, values);
  if (type == FloatTypeIndex(DataType::kFloat16)) MultiplyValues<Float16Values>(factor, count, values);
  if (type == FloatTypeIndex(DataType::kBFloat16)) MultiplyValues<BFloat16Values>(factor, count, values);
}

constexpr size_t ValueBytes(size_t type) { return type == FloatTypeIndex(DataType::kFloat32) ? 4 : 2; }

inline std::string Name(const char* loop, size_t operation, size_t element, size_t type) {
  return std::string(loop) + " " + std::to_string(operation) + " of " +
         std::string(element < kFormats.size() ? kFormats[element].name : "") + ", float type " + std::to_string(type);
}

// Several whole runs and a short one; or, of codes that are no whole bytes, one run.
inline std::vector<uint64_t> ElementCounts(uint64_t run_elements, int bits, Random& random) {
  const uint64_t rest = random() % run_elements;
  if (run_elements * static_cast<uint64_t>(bits) % 8 != 0) return {run_elements, rest};
  const uint64_t runs = std::max<uint64_t>(1, (run_elements == 64 ? 2200 : 600) / run_elements);
  return {0, rest, run_elements * runs, run_elements * (runs + random() % 4) + rest};
}

class TargetTest : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  const KernelTable& kernels() const { return *GetParam(); }
  Random random_{7};
};

}  // namespace quantd

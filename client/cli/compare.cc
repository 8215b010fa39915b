#include "client/cli/compare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "kernels/base/float16.h"
#include "kernels/format/mini_float.h"

namespace quantd::cli {
namespace {

using server::SafetensorsDtype;

template <typename T>
void WidenPlain(const std::byte* source, size_t count, double* target) {
  for (size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, source + i * sizeof(T), sizeof(T));
    target[i] = static_cast<double>(value);
  }
}

template <float (*kToFloat32)(uint16_t)>
void WidenHalf(const std::byte* source, size_t count, double* target) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, source + i * sizeof(bits), sizeof(bits));
    target[i] = static_cast<double>(kToFloat32(bits));
  }
}

template <class Format>
void WidenFloat8(const std::byte* source, size_t count, double* target) {
  for (size_t i = 0; i < count; ++i) target[i] = static_cast<double>(Format::Decode(static_cast<uint8_t>(source[i])));
}

struct Widening {
  std::string_view dtype;
  bool is_float;
  void (*widen)(const std::byte* source, size_t count, double* target);
};

constexpr Widening kWidenings[] = {
    {"F64", true, WidenPlain<double>},          {"F32", true, WidenPlain<float>},
    {"F16", true, WidenHalf<Float16ToFloat32>}, {"BF16", true, WidenHalf<BFloat16ToFloat32>},
    {"F8_E4M3", true, WidenFloat8<Fp8E4m3>},    {"F8_E5M2", true, WidenFloat8<Fp8E5m2>},
    {"I8", false, WidenPlain<int8_t>},          {"U8", false, WidenPlain<uint8_t>},
    {"I16", false, WidenPlain<int16_t>},        {"U16", false, WidenPlain<uint16_t>},
    {"I32", false, WidenPlain<int32_t>},        {"U32", false, WidenPlain<uint32_t>},
};

const Widening* WideningOf(const SafetensorsDtype& dtype) {
  const auto found = std::find_if(std::begin(kWidenings), std::end(kWidenings),
                                  [&](const Widening& widening) { return widening.dtype == dtype.name; });
  return found == std::end(kWidenings) ? nullptr : &*found;
}

ErrorStatistics CompareRun(const double* first, const double* second, size_t count) {
  ErrorStatistics run;
  run.elements = count;
  for (size_t i = 0; i < count; ++i) {
    const double a = first[i];
    const double b = second[i];
    const bool differs = a != b && !(std::isnan(a) && std::isnan(b));
    run.differing += differs;
    if (!std::isfinite(a) || !std::isfinite(b)) {
      ++run.nonfinite;
      run.nonfinite_differing += differs;
      continue;
    }
    const double error = a - b;
    run.sum_squared_error += error * error;
    run.sum_squared_first += a * a;
    run.sum_squared_second += b * b;
    run.sum_product += a * b;
    run.max_abs_error = std::max(run.max_abs_error, std::fabs(error));
  }
  return run;
}

}  // namespace

double ErrorStatistics::MeanSquaredError() const {
  const uint64_t pairs = elements - nonfinite;
  return pairs == 0 ? 0 : sum_squared_error / static_cast<double>(pairs);
}

double ErrorStatistics::SnrDb() const {
  if (sum_squared_error == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(sum_squared_first / sum_squared_error);
}

double ErrorStatistics::Cosine() const {
  if (sum_squared_first == 0 && sum_squared_second == 0) return 1;
  if (sum_squared_first == 0 || sum_squared_second == 0) return 0;
  return sum_product / (std::sqrt(sum_squared_first) * std::sqrt(sum_squared_second));
}

void ErrorStatistics::Merge(const ErrorStatistics& other) {
  elements += other.elements;
  differing += other.differing;
  nonfinite += other.nonfinite;
  nonfinite_differing += other.nonfinite_differing;
  sum_squared_error += other.sum_squared_error;
  sum_squared_first += other.sum_squared_first;
  sum_squared_second += other.sum_squared_second;
  sum_product += other.sum_product;
  max_abs_error = std::max(max_abs_error, other.max_abs_error);
}

bool CanCompareValues(const SafetensorsDtype& first, const SafetensorsDtype& second) {
  const Widening* const a = WideningOf(first);
  const Widening* const b = WideningOf(second);
  return a != nullptr && b != nullptr && (a == b || (a->is_float && b->is_float));
}

ErrorStatistics CompareValues(const SafetensorsDtype& first_dtype, std::span<const std::byte> first,
                              const SafetensorsDtype& second_dtype, std::span<const std::byte> second,
                              const std::function<bool(uint64_t elements)>& keep_going) {
  const size_t first_bytes = first_dtype.bits / 8;
  const size_t second_bytes = second_dtype.bits / 8;
  const uint64_t elements = first.size() / first_bytes;
  std::array<double, kCompareElements> a, b;
  ErrorStatistics statistics;
  while (statistics.elements < elements && keep_going(statistics.elements)) {
    const uint64_t begin = statistics.elements;
    const size_t count = std::min(kCompareElements, elements - begin);
    WideningOf(first_dtype)->widen(first.data() + begin * first_bytes, count, a.data());
    WideningOf(second_dtype)->widen(second.data() + begin * second_bytes, count, b.data());
    statistics.Merge(CompareRun(a.data(), b.data(), count));
  }
  return statistics;
}

}  // namespace quantd::cli

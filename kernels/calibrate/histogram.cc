#include "kernels/calibrate/histogram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/format/value_types.h"

namespace quantd {
namespace {

constexpr size_t kWays16 = 2;  // tables, one after the other
constexpr size_t kExponents = 256;
// Ahead of the loop, and not to stay in the caches: the tables need them.
constexpr size_t kPrefetchBytes = 2048;
constexpr int kCountShift = 40;  // 2^24 values of 16 bits stay below it
constexpr uint64_t kRoom16 = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kRoom32 = (uint64_t{1} << (64 - kCountShift)) - 1;

// Adds value · 2^exponent, exactly.
void AddScaled(ExactSum& sum, Wide value, int exponent, bool negative) {
  for (; value != 0; value >>= 32, exponent += 32) {
    const double part = std::ldexp(static_cast<double>(static_cast<uint32_t>(value)), exponent);
    sum.Add(negative ? -part : part);
  }
}

// Adds value · count; the value has at most 22 bits, so that parts of the count times it have no more than a double.
void AddTimes(ExactSum& sum, double value, uint64_t count) {
  sum.Add(value * static_cast<double>(count & 0xffffffu));
  sum.Add(value * 0x1p24 * static_cast<double>(count >> 24 & 0xffffffu));
  sum.Add(value * 0x1p48 * static_cast<double>(count >> 48));
}

// `count_of(pattern)` is called once for each.
template <class CountOf>
Histogram Fold16Of(DataType dtype, const CountOf& count_of, uint64_t& nonfinite) {
  Histogram histogram;
  for (size_t pattern = 0; pattern < kPatterns; ++pattern) {
    const uint64_t count = count_of(pattern);
    if (count == 0) continue;
    if (IsFinitePattern(dtype, static_cast<uint16_t>(pattern))) {
      histogram.Append(static_cast<uint16_t>(pattern), count);
    } else {
      nonfinite += count;
    }
  }
  return histogram;
}

struct Counted {
  uint64_t count;
  uint64_t low_sum;
};

// A value is (high · 2^16 + low) · 2^e, its square (high² · 2^32 + 2 · high · low · 2^16 + low²) · 2^2e; of each bin
// the count and the sum of `low` are known, of the finite elements the sum of low² · 2^2e.
template <class CountedOf>
Histogram Fold32Of(const CountedOf& counted_of, const LowSquares& low_squares, uint64_t& nonfinite, ExactSum& sum,
                   ExactSum& sum_of_squares) {
  Histogram histogram;
  std::array<Wide, kSignsAndExponents> sums{};
  std::array<Wide, kExponents> squares{};
  for (size_t pattern = 0; pattern < kPatterns; ++pattern) {
    const auto [count, low_sum] = counted_of(pattern);
    if (count == 0) continue;
    if (!IsFinitePattern(DataType::kFloat32, static_cast<uint16_t>(pattern))) {
      nonfinite += count;
      continue;
    }
    histogram.Append(static_cast<uint16_t>(pattern), count);
    const size_t sign_and_exponent = pattern >> 7;
    const size_t field = sign_and_exponent % kExponents;
    const uint64_t high = (pattern & 0x7f) | (field != 0 ? 0x80 : 0);
    sums[sign_and_exponent] += (static_cast<Wide>(high * count) << 16) + low_sum;
    squares[field] += (static_cast<Wide>(high * high * count) << 32) + (static_cast<Wide>(2 * high * low_sum) << 16);
  }
  for (size_t field = 0; field + 1 < kExponents; ++field) {
    const int exponent = (field != 0 ? static_cast<int>(field) : 1) - 150;
    AddScaled(sum, sums[field], exponent, false);
    AddScaled(sum, sums[kExponents + field], exponent, true);
    AddScaled(sum_of_squares, squares[field] + low_squares[field], 2 * exponent, false);
  }
  return histogram;
}

}  // namespace

void Histogram::Merge(const Histogram& other) {
  if (other.size() == 0) return;
  Histogram merged;
  const size_t bins_max = std::min(size() + other.size(), kPatterns);
  merged.patterns.reserve(bins_max);
  merged.counts.reserve(bins_max);
  size_t i = 0;
  size_t k = 0;
  while (i < size() || k < other.size()) {
    const bool mine = k == other.size() || (i < size() && patterns[i] <= other.patterns[k]);
    const bool others = i == size() || (k < other.size() && other.patterns[k] <= patterns[i]);
    const uint16_t pattern = mine ? patterns[i] : other.patterns[k];
    uint64_t count = 0;
    if (mine) count += counts[i++];
    if (others) count += other.counts[k++];
    merged.Append(pattern, count);
  }
  *this = std::move(merged);
}

PatternBounds BoundsOf(DataType dtype, uint16_t pattern) {
  if (dtype == DataType::kFloat16) return {Float16ToFloat32(pattern), Float16ToFloat32(pattern)};
  const uint32_t upper = uint32_t{pattern} << 16;
  const float nearest = std::bit_cast<float>(upper);
  return {nearest, dtype == DataType::kBFloat16 ? nearest : std::bit_cast<float>(upper | 0xffffu)};
}

ExactSum SumOf(DataType dtype, const Histogram& histogram) {
  ExactSum sum;
  for (size_t i = 0; i < histogram.size(); ++i) {
    const double value = BoundsOf(dtype, histogram.patterns[i]).nearest;
    AddTimes(sum, value, histogram.counts[i]);
  }
  return sum;
}

ExactSum SumOfSquaresOf(DataType dtype, const Histogram& histogram) {
  ExactSum sum;
  for (size_t i = 0; i < histogram.size(); ++i) {
    const double value = BoundsOf(dtype, histogram.patterns[i]).nearest;
    AddTimes(sum, value * value, histogram.counts[i]);
  }
  return sum;
}

std::vector<uint32_t> AscendingOrder(const Histogram& histogram) {
  std::vector<uint32_t> order;
  order.reserve(histogram.size());
  const auto first_negative = static_cast<uint32_t>(std::ranges::lower_bound(histogram.patterns, uint16_t{0x8000}) -
                                                    histogram.patterns.begin());
  for (auto i = static_cast<uint32_t>(histogram.size()); i > first_negative; --i) order.push_back(i - 1);
  for (uint32_t i = 0; i < first_negative; ++i) order.push_back(i);
  return order;
}

void PatternCounters::Prepare(DataType dtype) {
  if (in_use_) return;
  in_use_ = true;
  if (dtype == DataType::kFloat32) {
    packed_.resize(kPatterns);
    low_squares_.resize(1);
    room_ = kRoom32;
  } else {
    counts_.resize(kPatterns * kWays16);
    room_ = kRoom16;
  }
}

namespace {

// Equal neighbours in one step: otherwise each would wait for the one before it.
constexpr bool AllEqual(uint64_t four_words) { return four_words == std::rotl(four_words, 16); }

void Count16(const std::byte* source, uint64_t count, uint32_t* counts) {
  uint32_t* const others = counts + kPatterns;
  uint64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const auto first = LoadUnaligned<uint64_t>(source + 2 * i);
    const auto second = LoadUnaligned<uint64_t>(source + 2 * i + 8);
    __builtin_prefetch(source + 2 * i + kPrefetchBytes, 0, 0);
    if (first == second && AllEqual(first)) [[unlikely]] {
      counts[first & 0xffff] += 8;
      continue;
    }
    for (const uint64_t four : {first, second}) {
      ++counts[four & 0xffff];
      ++others[four >> 16 & 0xffff];
      ++counts[four >> 32 & 0xffff];
      ++others[four >> 48];
    }
  }
  for (; i < count; ++i) ++counts[LoadUnaligned<uint16_t>(source + 2 * i)];
}

void Count32(const std::byte* source, uint64_t count, uint64_t* packed) {
  const auto count_times = [packed](uint64_t bits, uint64_t times) {
    packed[bits >> 16] += times * ((uint64_t{1} << kCountShift) + (bits & 0xffff));
  };
  uint64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const auto first = LoadUnaligned<uint64_t>(source + 4 * i);
    const auto second = LoadUnaligned<uint64_t>(source + 4 * i + 8);
    __builtin_prefetch(source + 4 * i + kPrefetchBytes, 0, 0);
    if (first == second && first == std::rotl(first, 32)) [[unlikely]] {
      count_times(first & 0xffffffff, 4);
      continue;
    }
    count_times(first & 0xffffffff, 1);
    count_times(first >> 32, 1);
    count_times(second & 0xffffffff, 1);
    count_times(second >> 32, 1);
  }
  for (; i < count; ++i) count_times(LoadUnaligned<uint32_t>(source + 4 * i), 1);
}

}  // namespace

void PatternCounters::Count(DataType dtype, std::span<const std::byte> values) {
  const uint64_t count = values.size() / SizeBytes(dtype);
  room_ -= count;
  if (dtype == DataType::kFloat32) {
    Count32(values.data(), count, packed_.data());
  } else {
    Count16(values.data(), count, counts_.data());
  }
}

Histogram PatternCounters::Fold(DataType dtype, uint64_t& nonfinite, ExactSum& sum, ExactSum& sum_of_squares) {
  if (!in_use_) return {};
  if (dtype == DataType::kFloat32) return Fold32(nonfinite, sum, sum_of_squares);
  return Fold16(dtype, nonfinite);
}

Histogram PatternCounters::Fold16(DataType dtype, uint64_t& nonfinite) {
  room_ = kRoom16;
  const auto count_of = [this](size_t pattern) {
    return uint64_t{std::exchange(counts_[pattern], 0)} + std::exchange(counts_[kPatterns + pattern], 0);
  };
  return Fold16Of(dtype, count_of, nonfinite);
}

Histogram PatternCounters::Fold32(uint64_t& nonfinite, ExactSum& sum, ExactSum& sum_of_squares) {
  room_ = kRoom32;
  const auto counted = [this](size_t pattern) {
    const uint64_t word = std::exchange(packed_[pattern], 0);
    return Counted{word >> kCountShift, word & ((uint64_t{1} << kCountShift) - 1)};
  };
  const LowSquares low_squares = std::exchange(low_squares_[0], {});
  return Fold32Of(counted, low_squares, nonfinite, sum, sum_of_squares);
}

Histogram FoldPatterns(DataType dtype, const PatternCounts& patterns, uint64_t& nonfinite, ExactSum& sum,
                       ExactSum& sum_of_squares) {
  if (dtype != DataType::kFloat32) {
    return Fold16Of(dtype, [&](size_t pattern) { return patterns.counts[pattern]; }, nonfinite);
  }
  LowSquares low_squares;
  for (size_t i = 0; i < kExponents; ++i) {
    low_squares[i] = static_cast<Wide>(patterns.low_squares[i]) + patterns.low_squares[kExponents + i];
  }
  return Fold32Of([&](size_t pattern) { return Counted{patterns.counts[pattern], patterns.low_sums[pattern]}; },
                  low_squares, nonfinite, sum, sum_of_squares);
}

size_t PatternCounters::MemoryBytes() const {
  return counts_.capacity() * sizeof(uint32_t) + packed_.capacity() * sizeof(uint64_t) +
         low_squares_.capacity() * sizeof(LowSquares);
}

size_t PatternCounters::MemoryBytesMax() {
  return std::max(kPatterns * kWays16 * sizeof(uint32_t), kPatterns * sizeof(uint64_t) + sizeof(LowSquares));
}

}  // namespace quantd

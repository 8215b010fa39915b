#include "kernels/calibrate/statistics_codec.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

constexpr size_t kBucketBytesMin = 2 + 2 * sizeof(uint32_t);
constexpr size_t kBinBytesMin = 2;
constexpr size_t kBinBytes = sizeof(uint16_t) + sizeof(uint64_t);  // in memory

// The digits of ExactSum that sums of 2^48 float32 and of their squares can have.
constexpr size_t kFirstDigitOfSum = (1074 - 149) / 32;
constexpr size_t kLastDigitOfSum = (128 + 48 + 1074) / 32;
constexpr size_t kFirstDigitOfSquares = (1074 - 298) / 32;
constexpr size_t kLastDigitOfSquares = (256 + 48 + 1074) / 32;
constexpr size_t kLastDigitOfBucket = (256 + 48 + 298) / 32;

// Digits without the zeros on both sides.
template <class DigitAt>
void AppendDigits(size_t digits, const DigitAt& digit_at, ByteAppender& record) {
  size_t first = 0;
  while (first < digits && digit_at(first) == 0) ++first;
  size_t end = digits;
  while (end > first && digit_at(end - 1) == 0) --end;
  record.Number(static_cast<uint8_t>(first == digits ? 0 : first));
  record.Number(static_cast<uint8_t>(end - first));
  for (size_t i = first; i < end; ++i) record.Number<uint32_t>(digit_at(i));
}

void AppendSum(const ExactSum& sum, ByteAppender& record) {
  const ExactSum::Digits digits = sum.ToDigits();
  record.Number(static_cast<uint8_t>(digits.negative));
  AppendDigits(ExactSum::kDigits, [&digits](size_t i) { return digits.magnitude[i]; }, record);
}

// Gives set_digit(index, digit) what AppendDigits wrote; false for anything that it does not write.
template <class SetDigit>
bool ParseDigits(ByteCursor& record, size_t first_possible, size_t last_possible, const SetDigit& set_digit) {
  const auto first = record.Number<uint8_t>();
  const auto count = record.Number<uint8_t>();
  if (!first || !count) return false;
  if (*count == 0) return *first == 0;
  if (*first < first_possible || *first + *count > last_possible + 1) return false;
  for (size_t i = 0; i < *count; ++i) {
    const auto digit = record.Number<uint32_t>();
    if (!digit || (*digit == 0 && (i == 0 || i + 1 == *count))) return false;
    set_digit(*first + i, *digit);
  }
  return true;
}

bool ParseSum(ByteCursor& record, size_t first_possible, size_t last_possible, ExactSum& sum) {
  const auto negative = record.Number<uint8_t>();
  if (!negative || *negative > 1) return false;
  ExactSum::Digits digits{.negative = *negative == 1};
  bool is_zero = true;
  if (!ParseDigits(record, first_possible, last_possible, [&](size_t i, uint32_t digit) {
        digits.magnitude[i] = digit;
        is_zero = false;
      })) {
    return false;
  }
  if (is_zero && digits.negative) return false;
  sum = ExactSum::FromDigits(digits);
  return true;
}

// Whether it is finite and one of the type's values.
bool IsValueOf(DataType dtype, float value) {
  return WithValues(dtype, [value]<class Values>(Values) {
    const auto bits = Values::Narrow(value);
    return (bits & Values::kMagnitudeMask) < Values::kInfinity &&
           std::bit_cast<uint32_t>(Values::Widen(bits)) == std::bit_cast<uint32_t>(value);
  });
}

// Where a value of the type is counted.
uint16_t PatternOf(DataType dtype, float value) {
  if (dtype == DataType::kFloat16) return Float32ToFloat16(value);
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
}

}  // namespace

absl::Status MalformedQcal(const std::string& what) {
  return InvalidArgument(reason::kMalformedQcal, absl::StrCat("not a .qcal file of version 1: ", what));
}

void StatisticsCodec::Append(const TensorStatistics& statistics, ByteAppender& record) {
  if (!statistics.IsCompact()) return Append(statistics.Compacted(), record);
  record.Number(static_cast<uint8_t>(statistics.dtype_));
  record.Number(static_cast<uint8_t>(statistics.extents_.size()));
  for (const uint64_t extent : statistics.extents_) record.Number(extent);
  for (const auto& bucket : statistics.buckets_) record.Varint(bucket.count);
  for (const auto& bucket : statistics.buckets_) record.Varint(bucket.nonfinite);
  for (const auto& bucket : statistics.buckets_) {
    record.Number(FromOrderedKey(bucket.lowest_key));
    record.Number(FromOrderedKey(bucket.highest_key));
  }
  if (statistics.config_.collection == StatisticsCollection::kImportance) {
    SquareSums sums = statistics.square_sums_;
    sums.Carry();
    for (uint64_t bucket = 0; bucket < sums.buckets(); ++bucket) {
      AppendDigits(SquareSums::kDigits, [&](size_t digit) { return sums.Digit(bucket, digit); }, record);
    }
  }
  if (statistics.config_.collection == StatisticsCollection::kDistribution) {
    const Histogram& histogram = statistics.histogram_;
    record.Varint(histogram.size());
    uint64_t next = 0;
    for (size_t i = 0; i < histogram.size(); ++i) {
      record.Varint(histogram.patterns[i] - next);
      record.Varint(histogram.counts[i]);
      next = uint64_t{histogram.patterns[i]} + 1;
    }
    if (statistics.dtype_ != DataType::kFloat32) return;
    AppendSum(statistics.sum_, record);
    AppendSum(statistics.sum_of_squares_, record);
  }
}

absl::StatusOr<TensorStatistics> StatisticsCodec::Parse(const StatisticsConfig& config, ByteCursor& record,
                                                        uint64_t memory_bytes_max, uint64_t& memory_bytes) {
  TensorStatistics statistics;
  statistics.config_ = config;
  const auto dtype = record.Number<uint8_t>();
  const auto rank = record.Number<uint8_t>();
  if (!dtype || *dtype < 1 || *dtype > 3) return MalformedQcal("an element type that is no float");
  statistics.dtype_ = static_cast<DataType>(*dtype);
  if (!rank || *rank > kStatisticsRankMax) return MalformedQcal("too many extents");
  for (size_t i = 0; i < *rank; ++i) {
    const auto extent = record.Number<uint64_t>();
    if (!extent) return MalformedQcal("a record ends early");
    statistics.extents_.push_back(*extent);
  }
  const auto buckets = BucketsOf(config, statistics.extents_);
  if (!buckets.ok()) return MalformedQcal(std::string(buckets.status().message()));
  if (record.left() / kBucketBytesMin < *buckets) return MalformedQcal("a record ends early");
  const auto allocate = [&](uint64_t bytes) -> absl::Status {
    memory_bytes += bytes;
    if (memory_bytes <= memory_bytes_max) return absl::OkStatus();
    return MakeError(absl::StatusCode::kResourceExhausted, reason::kStatisticsLimit,
                     absl::StrCat("the statistics of the file take more than ", memory_bytes_max, " bytes of memory"),
                     {{"memory_bytes_max", std::to_string(memory_bytes_max)}});
  };
  const bool has_squares = config.collection == StatisticsCollection::kImportance;
  QUANTD_RETURN_IF_ERROR(allocate(sizeof(TensorStatistics) + *buckets * sizeof(TensorStatistics::Bucket) +
                                  (has_squares ? SquareSums::MemoryBytesOf(*buckets) : 0)));
  statistics.buckets_.resize(*buckets);
  QUANTD_RETURN_IF_ERROR(ParseBuckets(record, statistics));
  if (has_squares) QUANTD_RETURN_IF_ERROR(ParseSquareSums(record, statistics));
  if (config.collection == StatisticsCollection::kDistribution) {
    const auto bins = record.Varint();
    if (!bins || *bins > kPatterns || record.left() / kBinBytesMin < *bins) {
      return MalformedQcal("more bins than there are bytes");
    }
    QUANTD_RETURN_IF_ERROR(allocate(*bins * kBinBytes));
    QUANTD_RETURN_IF_ERROR(ParseDistribution(record, *bins, statistics));
  }
  return statistics;
}

absl::Status StatisticsCodec::ParseBuckets(ByteCursor& record, TensorStatistics& statistics) {
  uint64_t elements = 0;
  for (auto& bucket : statistics.buckets_) {
    const auto count = record.Varint();
    if (!count || *count > kStatisticsElementsMax) return MalformedQcal("a count of elements");
    bucket.count = *count;
    elements += *count;
    if (elements > kStatisticsElementsMax) return MalformedQcal("statistics of more than 2^48 elements");
  }
  for (auto& bucket : statistics.buckets_) {
    const auto nonfinite = record.Varint();
    if (!nonfinite || *nonfinite > bucket.count) return MalformedQcal("a count of non-finite elements");
    bucket.nonfinite = *nonfinite;
  }
  for (auto& bucket : statistics.buckets_) {
    const auto lowest = record.Number<uint32_t>();
    const auto highest = record.Number<uint32_t>();
    if (!lowest || !highest) return MalformedQcal("a record ends early");
    bucket.lowest_key = OrderedKeyOfBits(*lowest);
    bucket.highest_key = OrderedKeyOfBits(*highest);
    const bool is_range = bucket.lowest_key <= bucket.highest_key &&
                          IsValueOf(statistics.dtype_, FromOrderedKey(bucket.lowest_key)) &&
                          IsValueOf(statistics.dtype_, FromOrderedKey(bucket.highest_key));
    const bool is_none = bucket.lowest_key == kNoLowestKey && bucket.highest_key == kNoHighestKey;
    if (bucket.count == bucket.nonfinite ? !is_none : !is_range) return MalformedQcal("a range of values");
  }
  return absl::OkStatus();
}

absl::Status StatisticsCodec::ParseSquareSums(ByteCursor& record, TensorStatistics& statistics) {
  statistics.square_sums_.Resize(statistics.buckets_.size());
  for (uint64_t bucket = 0; bucket < statistics.buckets_.size(); ++bucket) {
    bool is_zero = true;
    const bool parsed = ParseDigits(record, 0, kLastDigitOfBucket, [&](size_t digit, uint32_t value) {
      statistics.square_sums_.SetDigit(bucket, digit, value);
      is_zero = false;
    });
    const bool has_finite = statistics.buckets_[bucket].count != statistics.buckets_[bucket].nonfinite;
    if (!parsed || (!has_finite && !is_zero)) return MalformedQcal("a sum of squares");
  }
  return absl::OkStatus();
}

absl::Status StatisticsCodec::ParseDistribution(ByteCursor& record, uint64_t bins, TensorStatistics& statistics) {
  const auto& bucket = statistics.buckets_[0];
  Histogram& histogram = statistics.histogram_;
  histogram.patterns.reserve(bins);
  histogram.counts.reserve(bins);
  uint64_t finite = 0;
  uint64_t next = 0;
  for (uint64_t i = 0; i < bins; ++i) {
    const auto distance = record.Varint();
    const auto count = record.Varint();
    if (!distance || *distance >= kPatterns || next + *distance >= kPatterns) return MalformedQcal("a bin");
    const auto pattern = static_cast<uint16_t>(next + *distance);
    next = uint64_t{pattern} + 1;
    if (!count || *count == 0 || *count > kStatisticsElementsMax) return MalformedQcal("a bin's count");
    if (!IsFinitePattern(statistics.dtype_, pattern)) return MalformedQcal("a bin of non-finite values");
    finite += *count;
    histogram.Append(pattern, *count);
  }
  if (finite != bucket.count - bucket.nonfinite) return MalformedQcal("bins and counts that contradict each other");
  if (bins != 0) {
    const std::vector<uint32_t> order = AscendingOrder(histogram);
    const uint16_t lowest = PatternOf(statistics.dtype_, FromOrderedKey(bucket.lowest_key));
    const uint16_t highest = PatternOf(statistics.dtype_, FromOrderedKey(bucket.highest_key));
    if (histogram.patterns[order.front()] != lowest || histogram.patterns[order.back()] != highest) {
      return MalformedQcal("bins and a range that contradict each other");
    }
  }
  if (statistics.dtype_ != DataType::kFloat32) return absl::OkStatus();
  if (!ParseSum(record, kFirstDigitOfSum, kLastDigitOfSum, statistics.sum_) ||
      !ParseSum(record, kFirstDigitOfSquares, kLastDigitOfSquares, statistics.sum_of_squares_) ||
      statistics.sum_of_squares_.Value() < 0 || (bins == 0 && statistics.sum_of_squares_.Value() != 0)) {
    return MalformedQcal("a sum");
  }
  return absl::OkStatus();
}

}  // namespace quantd

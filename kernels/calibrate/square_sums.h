// The exact sum of squares of each bucket, in fixed point.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/base/data_type.h"
#include "kernels/base/exact_sum.h"

namespace quantd {

// Digits of 32 bits in words of 64, whose carries are held back; the lowest bit is 2^-298, the smallest float32
// squared. The words of one digit lie together, because neighbouring buckets mostly have values of like size.
class SquareSums {
 public:
  static constexpr size_t kDigits = 20;  // up to 2^342: 2^86 of the largest squares
  static constexpr int kLowestExponent = -298;

  void Resize(uint64_t buckets);
  uint64_t buckets() const { return buckets_; }

  // Values that all belong to one bucket; non-finite ones do not count.
  void AddRun(uint64_t bucket, DataType dtype, std::span<const std::byte> values);
  // The first value belongs to `first_bucket`, every other one to the bucket after its neighbour's.
  void AddRow(uint64_t first_bucket, DataType dtype, std::span<const std::byte> values);
  void Merge(const SquareSums& other);
  void Carry();

  // After Carry: below 2^32.
  uint32_t Digit(uint64_t bucket, size_t digit) const {
    return static_cast<uint32_t>(words_[digit * buckets_ + bucket]);
  }
  void SetDigit(uint64_t bucket, size_t digit, uint32_t value) { words_[digit * buckets_ + bucket] = value; }
  ExactSum Sum(uint64_t bucket) const;

  size_t MemoryBytes() const { return words_.capacity() * sizeof(uint64_t); }
  static constexpr uint64_t MemoryBytesOf(uint64_t buckets) { return buckets * kDigits * sizeof(uint64_t); }

 private:
  void CountTerm();

  uint64_t buckets_ = 0;
  std::vector<uint64_t> words_;
  uint32_t terms_since_carry_ = 0;  // at most, in any bucket
};

}  // namespace quantd

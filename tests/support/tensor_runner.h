// Takes one tensor through a backend as a server would: batch by batch, pass after pass, every buffer guarded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend/backend.h"

namespace quantd::testing {

using Bytes = std::vector<std::byte>;
using SegmentBytes = std::map<std::string, Bytes, std::less<>>;

struct TensorRun {
  SegmentBytes outputs;  // what is spooled included
  BatchResult result;    // of all batches of the last pass over the values together
};

// Runs every pass in batches of `units_per_batch` units. Between two passes it computes what the whole tensor
// shares. Buffers are unaligned, and a byte written outside them is a test failure.
TensorRun RunTensor(Backend& backend, const Plan& plan, const SegmentBytes& inputs,
                    uint64_t units_per_batch = UINT64_MAX, bool error_metrics = false);

// A plan that must be possible.
Plan PlanOrDie(const SchemeRequest& request, Direction direction, DataType dtype, const std::vector<uint64_t>& shape,
               const KnownStatistics& known = {}, const ChannelArrays& channel_arrays = {});

// The bytes of an array of plain values.
template <class T>
Bytes BytesOf(const std::vector<T>& values) {
  const auto* data = reinterpret_cast<const std::byte*>(values.data());
  return Bytes(data, data + values.size() * sizeof(T));
}
template <class T>
std::vector<T> ValuesOf(const Bytes& bytes) {
  const auto* data = reinterpret_cast<const T*>(bytes.data());
  return std::vector<T>(data, data + bytes.size() / sizeof(T));
}

// Values of a type as bytes, rounded to nearest even, and back.
Bytes Narrowed(const std::vector<float>& values, DataType dtype);
std::vector<float> Widened(const Bytes& bytes, DataType dtype);

// A generator whose seed is printed with every failure.
std::mt19937_64 MakeRandom(uint64_t seed);

// Normally distributed values; some blocks are scaled to extremes, some are zero.
std::vector<float> RandomTensor(std::mt19937_64& random, uint64_t element_count, uint32_t block_size);

}  // namespace quantd::testing

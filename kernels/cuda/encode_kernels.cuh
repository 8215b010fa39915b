// Codes from values: a thread for eight of them, which are whole bytes.
#pragma once

#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/launch.cuh"

namespace quantd {
namespace {

inline constexpr uint32_t kCodesOfThread = 8;

// Codes one after another, from the first bits of a byte on.
template <class Format>
class DeviceCodeWriter {
 public:
  __device__ explicit DeviceCodeWriter(std::byte* target) : target_(target) {}

  __device__ void Add(uint32_t code) {
    if constexpr (Format::kFirstInHighNibble) {
      bits_ = bits_ << Format::kBits | code;
    } else {
      bits_ |= code << count_;
    }
    count_ += Format::kBits;
    while (count_ >= 8) Flush();
  }
  __device__ void Finish(uint32_t padding) {
    if (count_ == 0) return;
    if (Format::kFirstInHighNibble) {
      Add(padding);
    } else {
      *target_ = static_cast<std::byte>(bits_);
    }
  }

 private:
  __device__ void Flush() {
    *target_++ = static_cast<std::byte>(bits_);
    bits_ >>= 8;
    count_ -= 8;
  }

  std::byte* target_;
  uint32_t bits_ = 0;
  int count_ = 0;
};

template <Transform kTransform, class Format, class Values>
__global__ void EncodeRows(DeviceEncodeJob job) {
  using Codec = OnDevice<Format>;
  const RunGeometry& runs = job.runs;
  const uint64_t row_threads = (runs.row_elements + kCodesOfThread - 1) / kCodesOfThread;
  const uint64_t row_runs = runs.row_runs();
  for (uint64_t item = ThreadIndex(); item < runs.rows * row_threads; item += ThreadCount()) {
    const uint64_t row = item / row_threads;
    const uint64_t begin = item % row_threads * kCodesOfThread;
    const uint64_t end = min(begin + kCodesOfThread, runs.row_elements);
    DeviceCodeWriter<Format> writer(job.codes + row * runs.row_code_bytes + begin * Format::kBits / 8);
    float factor = 0;
    float zero = 0;
    uint64_t run_end = begin;
    for (uint64_t i = begin; i < end; ++i) {
      if (i >= run_end) {
        const uint64_t run_of_row = i / runs.run_elements;
        const uint64_t run = row / runs.band_rows * row_runs + run_of_row;
        run_end = (run_of_row + 1) * runs.run_elements;
        factor = job.factors[run];
        if constexpr (kTransform == Transform::kDivideAddZero) zero = job.zeros[run];
      }
      const float value = LoadDeviceValue<Values>(job.values, row * runs.row_elements + i);
      writer.Add(Encoded<Codec>(Transformed<kTransform>(value, factor, zero), value, job) ^ job.code_xor);
    }
    if constexpr (Format::kFirstInHighNibble) {
      writer.Finish(Encoded<Codec>(Transformed<kTransform>(0.0f, factor, 0.0f), 0.0f, job));
    } else {
      writer.Finish(0);
    }
  }
}

template <Transform kTransform, class Format, class Values>
struct EncodeLauncher {
  static void Run(const DeviceEncodeJob& job, cudaStream_t stream) {
    const uint64_t threads = job.runs.rows * ((job.runs.row_elements + kCodesOfThread - 1) / kCodesOfThread);
    if (threads > 0) {
      EncodeRows<kTransform, Format, Values><<<BlocksFor(threads), kBlockThreads, 0, stream>>>(job);
    }
  }
};
template <class Format, class Values>
using MultiplyLauncher = EncodeLauncher<Transform::kMultiply, Format, Values>;
template <class Format, class Values>
using MultiplyFtzLauncher = EncodeLauncher<Transform::kMultiplyFtz, Format, Values>;
template <class Format, class Values>
using DivideLauncher = EncodeLauncher<Transform::kDivide, Format, Values>;
template <class Format, class Values>
using DivideAddZeroLauncher = EncodeLauncher<Transform::kDivideAddZero, Format, Values>;

}  // namespace
}  // namespace quantd

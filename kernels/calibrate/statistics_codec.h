// One tensor's statistics as the bytes of a record in a `.qcal` file.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/calibrate/byte_cursor.h"
#include "kernels/calibrate/tensor_statistics.h"

namespace quantd {

class StatisticsCodec {
 public:
  static void Append(const TensorStatistics& statistics, ByteAppender& record);
  // Of any bytes. What it would allocate is counted in `memory_bytes` before it does, and must not pass
  // `memory_bytes_max`. Errors as CalibrationReader.
  static absl::StatusOr<TensorStatistics> Parse(const StatisticsConfig& config, ByteCursor& record,
                                                uint64_t memory_bytes_max, uint64_t& memory_bytes);

 private:
  static absl::Status ParseBuckets(ByteCursor& record, TensorStatistics& statistics);
  static absl::Status ParseSquareSums(ByteCursor& record, TensorStatistics& statistics);
  static absl::Status ParseDistribution(ByteCursor& record, uint64_t bins, TensorStatistics& statistics);
};

absl::Status MalformedQcal(const std::string& what);

}  // namespace quantd

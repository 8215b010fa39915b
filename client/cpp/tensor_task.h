// From the caller's tensor to the task of a call: header, inputs, and what may be sent before the server has accepted.
#pragma once

#include "absl/status/statusor.h"
#include "client/cpp/tensor_call.h"

namespace quantd {

// They point into the tensor's memory. INVALID_ARGUMENT: options out of range (reason empty), INVALID_DTYPE, or
// INVALID_SHAPE where shape, type and bytes do not fit together.
absl::StatusOr<TensorTask> QuantizeTask(const TensorView& tensor, const SchemeRequest& scheme,
                                        const CallOptions& options);
absl::StatusOr<TensorTask> CalibrateTask(const TensorView& tensor, const CalibrationContribution& contribution,
                                         const CallOptions& options);
absl::StatusOr<TensorTask> DequantizeTask(const QuantizedTensorView& tensor, DataType dtype,
                                          const CallOptions& options);

}  // namespace quantd

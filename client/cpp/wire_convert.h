// Between the client's value types and the messages of quantd.v1.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "quantd/v1/quantization_service.pb.h"

namespace quantd {

SchemeRequest FromWire(const v1::Scheme& scheme);
ErrorMetrics FromWire(const v1::ErrorMetrics& errors);
Summary FromWire(const v1::Summary& summary);
ServerInfo FromWire(const v1::GetServerInfoResponse& info);
SchemeDescription FromWire(const v1::SchemeDescription& description);
CalibrationState FromWire(const v1::Calibration& calibration);
CalibratedTensor FromWire(const v1::CalibratedTensor& tensor);
CalibratedRange FromWire(const v1::CalibratedRange& range);
// With empty bytes. INTERNAL for an element type that this client does not know.
absl::StatusOr<SegmentView> FromWire(const v1::Segment& segment);

// A header without scheme statistics; `dtype` is what the values are or shall become.
v1::TensorHeader MakeHeader(const std::string& name, DataType dtype, const std::vector<uint64_t>& shape,
                            const SchemeRequest& scheme, const CallOptions& options);

void Fill(const CalibrationContribution& contribution, v1::Contribution& wire);
void Fill(const CalibrationReference& reference, v1::CalibrationReference& wire);
void Fill(const SmoothingReference& reference, v1::SmoothingSource& wire);
void Fill(const ImportanceReference& reference, v1::ImportanceSource& wire);
void Fill(const CalibrationQuery& query, v1::GetCalibrationRequest& wire);

// What is known of the whole tensor goes into `header`.
void FillStatistics(const KnownStatistics& known, v1::TensorHeader& header);

}  // namespace quantd

#include "server/rpc/calibration_convert.h"

#include <vector>

#include "kernels/base/status_macros.h"
#include "server/calibration/range_words.h"

namespace quantd::server {

v1::Calibration ToProto(const CalibrationInfo& info, const ServerIdentity& identity) {
  v1::Calibration proto;
  proto.set_session_id(info.session_id);
  const auto fields = ToFields(info.config);
  proto.mutable_configuration()->insert(fields.begin(), fields.end());
  proto.set_expected_contributions(info.expected_contributions);
  proto.set_sealed(info.sealed);
  proto.set_readable(info.readable);
  proto.set_tensor_count(info.tensor_count);
  proto.set_contribution_count(info.contribution_count);
  proto.set_memory_bytes(info.memory_bytes);
  proto.set_expires_in_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(info.expires_in)));
  proto.set_server_instance(identity.server_instance);
  proto.set_epoch(identity.epoch);
  return proto;
}

ImportTarget FromProto(const v1::ImportTarget& target) {
  return {target.session_id(), target.import_id(), target.expected_contributions()};
}

absl::StatusOr<RangeRequest> FromProto(const v1::RangeMethod& range) {
  RangeWords words{range.method(), std::nullopt, range.target(), std::nullopt};
  if (range.has_percentile()) words.percentile = range.percentile();
  if (range.has_symmetric()) words.symmetric = range.symmetric();
  return ParseRangeWords(words);
}

void Fill(const Range& range, v1::CalibratedRange& proto) {
  proto.set_lowest(range.lowest);
  proto.set_highest(range.highest);
}

absl::StatusOr<v1::CalibratedTensor> ToProto(const std::string& name, const ClosedTensor& tensor,
                                             const WantedResults& wanted) {
  const TensorStatistics& statistics = *tensor.statistics;
  v1::CalibratedTensor proto;
  proto.set_name(name);
  proto.set_dtype(static_cast<v1::DataType>(statistics.dtype()));
  proto.set_contributions(tensor.contributions);
  const BucketRange total = statistics.Total();
  proto.set_count(total.count);
  proto.set_nonfinite_count(total.nonfinite);
  for (const BucketRange& bucket : statistics.Ranges()) {
    proto.add_min(bucket.lowest);
    proto.add_max(bucket.highest);
    proto.add_absmax(bucket.Absmax());
  }
  if (wanted.range.has_value()) {
    QUANTD_ASSIGN_OR_RETURN(const std::vector<Range> ranges, FindRanges(statistics, *wanted.range));
    for (const Range& range : ranges) Fill(range, *proto.add_ranges());
  }
  if (wanted.importance) {
    QUANTD_ASSIGN_OR_RETURN(const std::vector<double> importance, Importance(statistics));
    proto.mutable_importance()->Add(importance.begin(), importance.end());
  }
  return proto;
}

}  // namespace quantd::server

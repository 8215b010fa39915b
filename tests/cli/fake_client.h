// A client without a server: makes segments of the right sizes, filled with a pattern.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "client/cpp/memory_sink.h"
#include "kernels/base/status_macros.h"
#include "kernels/calibrate/calibration_file.h"
#include "kernels/scheme/plan.h"

namespace quantd::cli {

// The byte that the fake puts at `offset` of every segment.
inline std::byte PatternAt(uint64_t offset) { return static_cast<std::byte>(offset * 7 + 1); }

class FakeClient final : public Client {
 public:
  struct Call {
    std::string name;
    SchemeRequest scheme;
    DataType dtype{};
    std::vector<uint64_t> shape;
    std::vector<std::string> segments;  // that Dequantize got
    CallOptions options;
    std::vector<float> smoothing_factors, importance;
  };

  std::vector<Call> calls;
  std::function<absl::Status(const Call&)> before_results = [](const Call&) { return absl::OkStatus(); };
  std::function<absl::Status(const Call&)> after_results = [](const Call&) { return absl::OkStatus(); };
  std::function<void(std::vector<SegmentLayout>&)> alter = [](std::vector<SegmentLayout>&) {};
  ServerInfo info;
  std::vector<SchemeDescription> schemes;
  Summary summary;  // of every tensor

  absl::StatusOr<Summary> Quantize(const TensorView& tensor, const SchemeRequest& scheme, SegmentSink& sink,
                                   const CallOptions& options) override {
    calls.push_back({tensor.name,
                     scheme,
                     tensor.dtype,
                     tensor.shape,
                     {},
                     options,
                     {options.smoothing_factors.begin(), options.smoothing_factors.end()},
                     {options.importance.begin(), options.importance.end()}});
    QUANTD_ASSIGN_OR_RETURN(const Scheme resolved, ResolveScheme(scheme));
    QUANTD_ASSIGN_OR_RETURN(const Plan plan,
                            MakePlan(resolved, Direction::kQuantize, tensor.dtype, tensor.shape, options.statistics));
    return Deliver(plan, sink);
  }

  absl::StatusOr<Summary> Dequantize(const QuantizedTensorView& tensor, DataType dtype, SegmentSink& sink,
                                     const CallOptions& options) override {
    calls.push_back({tensor.name, tensor.scheme, dtype, tensor.shape, {}, options, {}, {}});
    for (const SegmentView& segment : tensor.segments) calls.back().segments.push_back(segment.name);
    QUANTD_ASSIGN_OR_RETURN(const Scheme resolved, ResolveScheme(tensor.scheme));
    QUANTD_ASSIGN_OR_RETURN(const Plan plan, MakePlan(resolved, Direction::kDequantize, dtype, tensor.shape));
    return Deliver(plan, sink);
  }

  absl::StatusOr<QuantizedTensor> Quantize(const TensorView& tensor, const SchemeRequest& scheme,
                                           const CallOptions& options) override {
    MemorySink sink;
    QUANTD_ASSIGN_OR_RETURN(const Summary found, Quantize(tensor, scheme, sink, options));
    return QuantizedTensor{tensor.name, tensor.dtype, tensor.shape, sink.TakeScheme(), sink.TakeSegments(), found};
  }
  absl::StatusOr<Tensor> Dequantize(const QuantizedTensorView& tensor, DataType dtype,
                                    const CallOptions& options) override {
    MemorySink sink;
    QUANTD_RETURN_IF_ERROR(Dequantize(tensor, dtype, sink, options).status());
    return Tensor{tensor.name, dtype, tensor.shape, std::move(sink.TakeSegments().front().bytes)};
  }
  std::vector<absl::StatusOr<QuantizedTensor>> QuantizeAll(std::span<const TensorView> tensors,
                                                           const SchemeRequest& scheme,
                                                           const CallOptions& options) override {
    std::vector<absl::StatusOr<QuantizedTensor>> results;
    for (const TensorView& tensor : tensors) results.push_back(Quantize(tensor, scheme, options));
    return results;
  }
  std::vector<absl::StatusOr<Tensor>> DequantizeAll(std::span<const QuantizedTensorView> tensors, DataType dtype,
                                                    const CallOptions& options) override {
    std::vector<absl::StatusOr<Tensor>> results;
    for (const QuantizedTensorView& tensor : tensors) results.push_back(Dequantize(tensor, dtype, options));
    return results;
  }

  // What Calibrate got, counted here; session ids are not looked at but noted.
  struct Contribution {
    std::string tensor;
    CalibrationContribution contribution;
  };
  std::vector<Contribution> contributions;
  std::vector<std::string> session_calls;  // "seal ID", "export ID", "delete ID"
  Calibration calibration;

  absl::StatusOr<Summary> Calibrate(const TensorView& tensor, const CalibrationContribution& contribution,
                                    const CallOptions& options) override {
    contributions.push_back({tensor.name, contribution});
    QUANTD_ASSIGN_OR_RETURN(calibration.config, ParseStatisticsConfig(contribution.configuration));
    QUANTD_ASSIGN_OR_RETURN(TensorStatistics statistics,
                            TensorStatistics::Make(calibration.config, tensor.dtype, tensor.shape));
    statistics.Add(0, tensor.values);
    if (options.progress) options.progress(tensor.values.size(), tensor.values.size());
    Calibration one{calibration.config, {}};
    one.tensors.emplace(tensor.name, std::move(statistics));
    QUANTD_RETURN_IF_ERROR(Merge(calibration, one));
    Summary counted = summary;
    counted.counted = true;
    return counted;
  }
  absl::Status ExportCalibration(const std::string& session_id,
                                 const std::function<absl::Status(std::span<const std::byte>)>& sink,
                                 const CallOptions&) override {
    session_calls.push_back("export " + session_id);
    return sink(ToQcal(calibration));
  }
  absl::StatusOr<CalibrationState> SealCalibration(const std::string& session_id) override {
    session_calls.push_back("seal " + session_id);
    return CalibrationState{};
  }
  absl::Status DeleteCalibration(const std::string& session_id) override {
    session_calls.push_back("delete " + session_id);
    return absl::OkStatus();
  }
  absl::StatusOr<ImportOutcome> ImportCalibration(const std::string&, const std::string&, std::span<const std::byte>,
                                                  uint32_t, const CallOptions&) override {
    return absl::UnimplementedError("quantctl merges files");
  }
  absl::StatusOr<CalibrationState> DescribeCalibration(const std::string&) override {
    return absl::UnimplementedError("quantctl exports");
  }
  absl::StatusOr<CalibrationResults> GetCalibration(const std::string&, const CalibrationQuery&) override {
    return absl::UnimplementedError("quantctl exports");
  }
  absl::StatusOr<std::vector<CalibrationState>> ListCalibrations() override {
    return absl::UnimplementedError("quantctl exports");
  }

  absl::StatusOr<std::vector<SchemeDescription>> ListSchemes() override { return schemes; }
  absl::StatusOr<ServerInfo> GetServerInfo() override { return info; }

 private:
  absl::StatusOr<Summary> Deliver(const Plan& plan, SegmentSink& sink) {
    const Call call = calls.back();
    QUANTD_RETURN_IF_ERROR(before_results(call));
    std::vector<SegmentLayout> outputs = plan.WireOutputs();
    alter(outputs);
    std::vector<SegmentView> views;
    std::vector<uint64_t> sizes;
    for (const SegmentLayout& output : outputs) {
      views.push_back({output.name, output.dtype, output.shape, {}});
      sizes.push_back(output.bytes);
    }
    QUANTD_RETURN_IF_ERROR(sink.Begin(FullyResolved(plan.scheme), views, sizes));
    for (const SegmentLayout& output : outputs) {
      std::vector<std::byte> bytes(output.bytes);
      for (uint64_t i = 0; i < output.bytes; ++i) bytes[i] = PatternAt(i);
      const std::span<const std::byte> all(bytes);
      const size_t half = bytes.size() / 2;
      QUANTD_RETURN_IF_ERROR(sink.Write(output.name, 0, all.first(half)));
      QUANTD_RETURN_IF_ERROR(sink.Write(output.name, half, all.subspan(half)));
    }
    if (call.options.progress) call.options.progress(1, 1);
    QUANTD_RETURN_IF_ERROR(after_results(call));
    return summary;
  }
};

}  // namespace quantd::cli

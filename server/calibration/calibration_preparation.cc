#include "server/calibration/calibration_preparation.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "server/calibration/calibrated_channels.h"
#include "server/calibration/calibrated_statistics.h"
#include "server/calibration/calibration_errors.h"

namespace quantd::server {
namespace {

constexpr size_t kTensorsMax = 64;
// A search tries hundreds of ranges on up to 65,536 bins; other methods look at each bucket once.
constexpr uint64_t kSearchCostBytes = 16 << 20;

// One thing to be found. The error ends all.
using Step = std::function<absl::Status(const std::atomic<bool>& cancelled, Prepared& prepared)>;
using SharedStatistics = std::shared_ptr<const TensorStatistics>;

class Collector {
 public:
  Collector(const TensorRequest& request, const Principal& principal, CalibrationStore& store)
      : principal_(principal), store_(store), result_{request, {}} {}

  absl::StatusOr<CalibratedRequest> Collect() {
    const TensorRequest& request = result_.request;
    QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(request.scheme));
    const ChannelArrays arrays{request.smoothing.has_value(), request.importance.has_value()};
    QUANTD_ASSIGN_OR_RETURN(
        const Plan plan, MakePlan(scheme, Direction::kQuantize, request.dtype, request.shape, request.known, arrays));
    if (request.calibration.has_value()) QUANTD_RETURN_IF_ERROR(AddRange(plan));
    if (request.smoothing.has_value()) QUANTD_RETURN_IF_ERROR(AddFactors(plan.channel_count()));
    if (request.importance.has_value()) QUANTD_RETURN_IF_ERROR(AddImportance(plan.channel_count()));
    if (!steps_.empty()) {
      preparation_.compute = [steps = std::move(steps_), known = result_.request.known](
                                 const std::atomic<bool>& cancelled) -> absl::StatusOr<Prepared> {
        Prepared prepared{known, {}, {}};
        for (const Step& step : steps) QUANTD_RETURN_IF_ERROR(step(cancelled, prepared));
        return prepared;
      };
      result_.preparation = std::move(preparation_);
    }
    return std::move(result_);
  }

 private:
  absl::StatusOr<std::vector<SharedStatistics>> Read(const std::string& session_id,
                                                     const std::vector<std::string>& names) {
    QUANTD_ASSIGN_OR_RETURN(const auto session, store_.Find(principal_, session_id));
    std::vector<SharedStatistics> statistics;
    for (const std::string& name : names) {
      QUANTD_ASSIGN_OR_RETURN(const ClosedTensor tensor, session->Read(name, store_.now()));
      preparation_.cost_bytes += tensor.statistics->MemoryBytes();
      statistics.push_back(tensor.statistics);
    }
    return statistics;
  }

  // `names`, or the tensor's own.
  absl::StatusOr<std::vector<std::string>> NamesOr(const std::vector<std::string>& names, const char* field) const {
    if (names.empty()) return std::vector<std::string>{result_.request.name};
    if (names.size() <= kTensorsMax) return names;
    return InvalidCalibration(std::string(field) + " names " + std::to_string(names.size()) +
                              " tensors; send at most " + std::to_string(kTensorsMax) + ".");
  }

  static std::vector<const TensorStatistics*> Pointers(const std::vector<SharedStatistics>& owners) {
    std::vector<const TensorStatistics*> pointers;
    pointers.reserve(owners.size());
    for (const SharedStatistics& owner : owners) pointers.push_back(owner.get());
    return pointers;
  }

  absl::Status AddRange(const Plan& plan) {
    const CalibrationReference& reference = *result_.request.calibration;
    if (!plan.NeedsRange()) {
      return InvalidArgument(reason::kUnusedStatistic,
                             "a calibration gives the range of the whole tensor; this scheme needs none, or statistics "
                             "give it already. Send one of them, and only for schemes with one scale for the tensor "
                             "(grouping=tensor) or a global one (NVFP4).",
                             {{"statistic", "calibration"}});
    }
    QUANTD_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOr(reference.tensors, "calibration"));
    QUANTD_ASSIGN_OR_RETURN(std::vector<SharedStatistics> tensors, Read(reference.session_id, names));
    QUANTD_ASSIGN_OR_RETURN(RangeRequest range,
                            RangeRequestFor({reference.method, reference.percentile, "", {}}, plan));
    QUANTD_RETURN_IF_ERROR(CheckSharedRange(Pointers(tensors), range));
    if (range.method == RangeMethod::kMse || range.method == RangeMethod::kEntropy) {
      preparation_.cost_bytes += kSearchCostBytes;
    }
    result_.request.known = WithRange(plan, {});
    steps_.emplace_back([plan, tensors = std::move(tensors), range](const std::atomic<bool>& cancelled,
                                                                    Prepared& prepared) mutable -> absl::Status {
      range.cancelled = &cancelled;
      QUANTD_ASSIGN_OR_RETURN(const Range found, FindSharedRange(Pointers(tensors), range));
      prepared.known = WithRange(plan, found);
      return absl::OkStatus();
    });
    return absl::OkStatus();
  }

  absl::Status AddFactors(uint64_t channels) {
    const SmoothingSource& source = *result_.request.smoothing;
    const double alpha = source.alpha.value_or(0.5);
    if (source.session_id.empty()) {
      if (source.activations.empty() && source.weights.empty() && !source.alpha.has_value()) return absl::OkStatus();
      return InvalidCalibration("smoothing names tensors or alpha and no session. Send session_id, or none of them.");
    }
    const bool alpha_fits = alpha >= 0 && alpha <= 1;  // NaN does not
    if (!alpha_fits) {
      return InvalidArgument(reason::kInvalidSmoothing, "smoothing.alpha is not in [0, 1].");
    }
    QUANTD_ASSIGN_OR_RETURN(const auto activations, Read(source.session_id, {source.activations}));
    QUANTD_ASSIGN_OR_RETURN(const auto names, NamesOr(source.weights, "smoothing"));
    QUANTD_ASSIGN_OR_RETURN(const auto weights, Read(source.session_id, names));
    QUANTD_RETURN_IF_ERROR(CheckChannelStatistics(*activations.front(), channels, false));
    for (const SharedStatistics& weight : weights) {
      QUANTD_RETURN_IF_ERROR(CheckChannelStatistics(*weight, channels, false));
    }
    preparation_.makes.smoothing_factors = true;
    steps_.emplace_back([activations = activations.front(), weights, alpha](const std::atomic<bool>&,
                                                                            Prepared& prepared) -> absl::Status {
      QUANTD_ASSIGN_OR_RETURN(prepared.smoothing_factors, FactorsFrom(*activations, Pointers(weights), alpha));
      return absl::OkStatus();
    });
    return absl::OkStatus();
  }

  absl::Status AddImportance(uint64_t channels) {
    const ImportanceSource& source = *result_.request.importance;
    if (source.session_id.empty()) {
      if (source.activations.empty()) return absl::OkStatus();
      return InvalidCalibration("importance names a tensor and no session. Send session_id, or neither.");
    }
    const std::string& name = source.activations.empty() ? result_.request.name : source.activations;
    QUANTD_ASSIGN_OR_RETURN(const auto activations, Read(source.session_id, {name}));
    QUANTD_RETURN_IF_ERROR(CheckChannelStatistics(*activations.front(), channels, true));
    preparation_.makes.importance = true;
    steps_.emplace_back([activations = activations.front()](const std::atomic<bool>&, Prepared& prepared) {
      prepared.importance = ImportanceFrom(*activations);
      return absl::OkStatus();
    });
    return absl::OkStatus();
  }

  const Principal& principal_;
  CalibrationStore& store_;
  CalibratedRequest result_;
  Preparation preparation_;
  std::vector<Step> steps_;
};

}  // namespace

absl::StatusOr<CalibratedRequest> PrepareCalibrated(const TensorRequest& request, const Principal& principal,
                                                    CalibrationStore& store) {
  const bool names_something =
      request.calibration.has_value() || request.smoothing.has_value() || request.importance.has_value();
  if (!names_something) return CalibratedRequest{request, {}};
  return Collector(request, principal, store).Collect();
}

}  // namespace quantd::server

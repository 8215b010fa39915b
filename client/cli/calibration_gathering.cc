#include "client/cli/calibration_gathering.h"

#include <memory>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/progress.h"
#include "kernels/base/error.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"
#include "server/conversion/safetensors_reader.h"

namespace quantd::cli {
namespace {

using server::Quoted;
using server::SafetensorsEntry;
using server::SafetensorsReader;

std::string RandomId() {
  std::random_device random;
  return absl::StrFormat("quantctl-%08x%08x", random(), random());
}

// What is to be sent of one file.
struct Source {
  std::shared_ptr<const SafetensorsReader> file;
  std::vector<const SafetensorsEntry*> selected;
};

absl::StatusOr<std::vector<Source>> OpenAll(const std::vector<std::string>& paths,
                                            const SelectionArguments& selection) {
  std::vector<Source> sources;
  for (const std::string& path : paths) {
    absl::StatusOr<std::unique_ptr<SafetensorsReader>> file = SafetensorsReader::Open(path);
    if (!file.ok()) return WithExitCode(file.status(), ExitCode::kFile);
    const absl::StatusOr<ConvertedTensors> converted = ConvertedTensorsOf((*file)->metadata());
    if (!converted.ok()) return WithExitCode(converted.status(), ExitCode::kFile);
    QUANTD_ASSIGN_OR_RETURN(auto selected, SelectTensors((*file)->tensors(), *converted, selection));
    sources.push_back({*std::move(file), std::move(selected)});
  }
  return sources;
}

class Gathering {
 public:
  static absl::StatusOr<std::unique_ptr<Gathering>> Start(const GatheringSession& session, const CallArguments& call,
                                                          Environment& environment) {
    QUANTD_ASSIGN_OR_RETURN(const Deadline deadline, Deadline::FromNow(call.timeout, environment.clock));
    QUANTD_ASSIGN_OR_RETURN(std::shared_ptr<Client> client, environment.connect(call.server));
    return std::unique_ptr<Gathering>(new Gathering(session, call, environment, deadline, std::move(client)));
  }

  // Nobody else knows its own session.
  ~Gathering() {
    if (session_.id.empty()) client_->DeleteCalibration(id_).IgnoreError();
  }

  // `owner` of the tensor's memory, if there is one: CallOptions.memory_owner.
  absl::Status Add(const TensorView& tensor, std::shared_ptr<const void> owner, const std::string& contribution_id,
                   Progress& progress) {
    QUANTD_ASSIGN_OR_RETURN(CallOptions options, Options());
    options.memory_owner = std::move(owner);
    progress.Begin(tensor.name, tensor.values.size());
    options.progress = [&](uint64_t consumed_bytes, uint64_t) { progress.Update(consumed_bytes); };
    const absl::StatusOr<Summary> summary = client_->Calibrate(
        tensor, {id_, session_.configuration, contribution_id, session_.expected_contributions}, options);
    if (!summary.ok()) {
      absl::Status named(summary.status().code(),
                         absl::StrCat("tensor ", Quoted(tensor.name), ": ", std::string(summary.status().message())));
      return WithDetails(std::move(named), DetailsOf(summary.status()));
    }
    progress.End();
    ++gathered_.tensors;
    gathered_.bytes += tensor.values.size();
    if (!summary->counted.value_or(true)) ++gathered_.repeated;
    return absl::OkStatus();
  }

  absl::StatusOr<Gathered> Finish() {
    if (session_.wants_result) {
      QUANTD_ASSIGN_OR_RETURN(gathered_.result, Result());
    }
    return std::move(gathered_);
  }

 private:
  Gathering(const GatheringSession& session, const CallArguments& call, Environment& environment, Deadline deadline,
            std::shared_ptr<Client> client)
      : session_(session),
        call_(call),
        environment_(environment),
        deadline_(deadline),
        client_(std::move(client)),
        id_(session.id.empty() ? RandomId() : session.id) {}

  absl::StatusOr<CallOptions> Options() const {
    CallOptions options;
    QUANTD_ASSIGN_OR_RETURN(options.timeout, deadline_.Left());
    options.frame_data_bytes = call_.message_bytes;
    options.cancel = &environment_.cancel;
    return options;
  }

  absl::StatusOr<Calibration> Result() {
    if (session_.expected_contributions == 0) QUANTD_RETURN_IF_ERROR(client_->SealCalibration(id_).status());
    QUANTD_ASSIGN_OR_RETURN(const CallOptions options, Options());
    Calibration calibration;
    CalibrationReader reader(
        {},
        [&](const StatisticsConfig& config) {
          calibration.config = config;
          return absl::OkStatus();
        },
        [&](std::string name, TensorStatistics statistics) {
          calibration.tensors.emplace(std::move(name), std::move(statistics));
          return absl::OkStatus();
        });
    const auto feed = [&](std::span<const std::byte> part) { return reader.Feed(part); };
    QUANTD_RETURN_IF_ERROR(client_->ExportCalibration(id_, feed, options));
    QUANTD_RETURN_IF_ERROR(reader.Finish());
    return calibration;
  }

  const GatheringSession& session_;
  const CallArguments& call_;
  Environment& environment_;
  const Deadline deadline_;
  const std::shared_ptr<Client> client_;
  const std::string id_;
  Gathered gathered_;
};

}  // namespace

absl::StatusOr<Gathered> GatherFiles(const std::vector<std::string>& paths, const SelectionArguments& selection,
                                     const GatheringSession& session, const CallArguments& call,
                                     Environment& environment) {
  QUANTD_ASSIGN_OR_RETURN(const std::vector<Source> sources, OpenAll(paths, selection));
  QUANTD_ASSIGN_OR_RETURN(const auto gathering, Gathering::Start(session, call, environment));
  size_t tensors = 0;
  uint64_t bytes = 0;
  for (const Source& source : sources) {
    tensors += source.selected.size();
    for (const SafetensorsEntry* entry : source.selected) bytes += entry->size_bytes();
  }
  {
    Progress progress(environment.err, environment.err_is_terminal, environment.clock, "calibrating", tensors, bytes);
    for (size_t i = 0; i < sources.size(); ++i) {
      const Source& source = sources[i];
      for (const SafetensorsEntry* entry : source.selected) {
        const std::span<const std::byte> values = source.file->BytesOf(*entry);
        const TensorView tensor{entry->name, *DataTypeNamed(entry->dtype.name), entry->shape, values};
        QUANTD_RETURN_IF_ERROR(
            gathering->Add(tensor, source.file, absl::StrCat(session.contribution_id, "/", i), progress));
        source.file->Release(values);
        QUANTD_RETURN_IF_ERROR(WithExitCode(source.file->StillWhole(), ExitCode::kFile));
      }
    }
  }
  return gathering->Finish();
}

absl::StatusOr<Gathered> GatherTensor(const TensorView& tensor, const GatheringSession& session,
                                      const CallArguments& call, Environment& environment) {
  QUANTD_ASSIGN_OR_RETURN(const auto gathering, Gathering::Start(session, call, environment));
  {
    Progress progress(environment.err, environment.err_is_terminal, environment.clock, "calibrating", 1,
                      tensor.values.size());
    QUANTD_RETURN_IF_ERROR(gathering->Add(tensor, nullptr, session.contribution_id, progress));
  }
  return gathering->Finish();
}

}  // namespace quantd::cli

#include "client/cli/conversion.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/cli/progress.h"
#include "client/cpp/local_range.h"
#include "kernels/base/error.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using server::Quoted;
using server::SafetensorsDeclaration;
using server::SafetensorsEntry;
using server::SafetensorsWriter;

constexpr size_t kCopyBytes = 1u << 20;
constexpr uint64_t kReleaseBytes = 16u << 20;
constexpr size_t kServerNameBytesMax = 512;

// The server uses names for logs and errors only, so a long one may be cut.
std::string NameForServer(const std::string& name) {
  return name.size() <= kServerNameBytesMax ? name : server::Printable(name);
}

uint64_t BytesOf(const std::vector<const SafetensorsEntry*>& entries) {
  uint64_t bytes = 0;
  for (const SafetensorsEntry* entry : entries) bytes += entry->size_bytes();
  return bytes;
}

absl::StatusOr<std::vector<SafetensorsDeclaration>> Declarations(const Conversion& conversion) {
  std::vector<SafetensorsDeclaration> declarations;
  std::set<std::string> names;
  for (const SafetensorsEntry* entry : conversion.copied) {
    declarations.push_back({entry->name, entry->dtype, entry->shape});
    names.insert(entry->name);
  }
  for (const ConversionStep& step : conversion.steps) {
    for (const ExpectedSegment& output : step.outputs) {
      if (!names.insert(output.tensor).second) {
        return UsageError(absl::StrCat("tensor ", Quoted(step.name), " would become ", Quoted(output.tensor),
                                       ", and there is another tensor of that name; rename one, or choose with "
                                       "--include what is converted"));
      }
      declarations.push_back(
          {output.tensor, *server::SafetensorsDtypeNamed(InfoOf(output.dtype).safetensors_name), output.shape});
    }
  }
  return declarations;
}

// The same status, saying which tensor it is about.
absl::Status AtTensor(const absl::Status& status, const std::string& name) {
  absl::Status named(status.code(), absl::StrCat("tensor ", Quoted(name), ": ", std::string(status.message())));
  return WithExitCode(WithDetails(std::move(named), DetailsOf(status)), ExitCodeOf(status));
}

class Runner {
 public:
  Runner(const Conversion& conversion, const CallArguments& arguments, Environment& environment, Deadline deadline,
         Client& client, SafetensorsWriter& writer, Progress& progress)
      : conversion_(conversion),
        arguments_(arguments),
        environment_(environment),
        deadline_(deadline),
        client_(client),
        writer_(writer),
        progress_(progress) {}

  absl::StatusOr<ConvertedRow> Convert(const ConversionStep& step) {
    QUANTD_ASSIGN_OR_RETURN(const absl::Duration left, deadline_.Left());
    const uint64_t input_bytes = BytesOf(step.inputs);
    progress_.Begin(step.name, input_bytes);
    CallOptions options;
    options.timeout = left;
    QUANTD_ASSIGN_OR_RETURN(options.statistics, StatisticsOf(step));
    options.smoothing_factors = step.smoothing_factors;
    options.importance = step.importance;
    options.error_metrics = conversion_.error_metrics;
    options.frame_data_bytes = arguments_.message_bytes;
    options.cancel = &environment_.cancel;
    options.memory_owner = conversion_.input;
    // Arrays over the channels go first.
    const uint64_t array_bytes = options.smoothing_factors.size_bytes() + options.importance.size_bytes();
    options.progress = [&, array_bytes](uint64_t consumed_bytes, uint64_t) {
      const uint64_t consumed_input_bytes = consumed_bytes - std::min(consumed_bytes, array_bytes);
      progress_.Update(consumed_input_bytes);
      ReleaseConsumed(step, consumed_input_bytes);
    };
    released_bytes_ = 0;
    SegmentWriter sink(step.scheme, step.outputs, writer_);
    const absl::Time begin = environment_.clock.Now();
    absl::StatusOr<Summary> summary = Call(step, sink, options);
    const absl::Duration time = environment_.clock.Now() - begin;
    if (!summary.ok()) return AtTensor(summary.status(), step.name);
    progress_.End();
    for (const SafetensorsEntry* input : step.inputs) conversion_.input->Release(conversion_.input->BytesOf(*input));
    QUANTD_RETURN_IF_ERROR(WithExitCode(conversion_.input->StillWhole(), ExitCode::kFile));
    return ConvertedRow{step.name,   step.values_dtype,    step.shape, step.scheme,
                        input_bytes, sink.written_bytes(), time,       *summary};
  }

  absl::Status Copy(const SafetensorsEntry& entry) {
    QUANTD_RETURN_IF_ERROR(deadline_.Left().status());
    const std::span<const std::byte> bytes = conversion_.input->BytesOf(entry);
    for (size_t offset = 0; offset < bytes.size(); offset += kCopyBytes) {
      if (environment_.cancel.cancelled()) return absl::CancelledError("interrupted; nothing was written");
      const auto part = bytes.subspan(offset, std::min(kCopyBytes, bytes.size() - offset));
      QUANTD_RETURN_IF_ERROR(WithExitCode(writer_.Write(entry.name, offset, part), ExitCode::kFile));
      conversion_.input->Release(part);
    }
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<KnownStatistics> StatisticsOf(const ConversionStep& step) const {
    if (!step.range_needed_by.has_value()) return step.statistics;
    const std::span<const std::byte> values = conversion_.input->BytesOf(*step.inputs.front());
    ValueRange range;
    for (size_t offset = 0; offset < values.size(); offset += kCopyBytes) {
      if (environment_.cancel.cancelled()) return absl::CancelledError("interrupted; nothing was written");
      const auto part = values.subspan(offset, std::min(kCopyBytes, values.size() - offset));
      const std::optional<ValueRange> part_range = LocalRange(part, step.values_dtype);
      if (!part_range.has_value()) return step.statistics;  // the server says what NaN and infinity mean
      range = Union(range, *part_range);
      conversion_.input->Release(part);
    }
    return StatisticsFor(*step.range_needed_by, range);
  }

  absl::StatusOr<Summary> Call(const ConversionStep& step, SegmentSink& sink, const CallOptions& options) {
    if (conversion_.kind == Conversion::Kind::kQuantize) {
      const TensorView values{NameForServer(step.name), step.values_dtype, step.shape,
                              conversion_.input->BytesOf(*step.inputs.front())};
      return client_.Quantize(values, step.scheme, sink, options);
    }
    QuantizedTensorView quantized{NameForServer(step.name), step.shape, step.scheme, {}};
    for (const SafetensorsEntry* input : step.inputs) {
      const std::string segment = input->name.substr(step.name.size() + 1);
      quantized.segments.push_back(
          {segment, *DataTypeNamed(input->dtype.name), input->shape, conversion_.input->BytesOf(*input)});
    }
    return client_.Dequantize(quantized, step.values_dtype, sink, options);
  }

  // Keeps the mapped input from filling memory. With one input, consumed bytes are a prefix of it.
  void ReleaseConsumed(const ConversionStep& step, uint64_t consumed_bytes) {
    if (step.inputs.size() != 1 || consumed_bytes < released_bytes_ + kReleaseBytes) return;
    const auto bytes = conversion_.input->BytesOf(*step.inputs.front());
    conversion_.input->Release(bytes.subspan(released_bytes_, consumed_bytes - released_bytes_));
    released_bytes_ = consumed_bytes;
  }

  const Conversion& conversion_;
  const CallArguments& arguments_;
  Environment& environment_;
  const Deadline deadline_;
  Client& client_;
  SafetensorsWriter& writer_;
  Progress& progress_;
  uint64_t released_bytes_ = 0;
};

}  // namespace

absl::StatusOr<ConversionReport> RunConversion(const Conversion& conversion, const CallArguments& arguments,
                                               Environment& environment) {
  QUANTD_ASSIGN_OR_RETURN(const Deadline deadline, Deadline::FromNow(arguments.timeout, environment.clock));
  QUANTD_ASSIGN_OR_RETURN(std::vector<SafetensorsDeclaration> declarations, Declarations(conversion));
  QUANTD_ASSIGN_OR_RETURN(const std::shared_ptr<Client> client, environment.connect(arguments.server));
  absl::StatusOr<std::unique_ptr<SafetensorsWriter>> writer =
      SafetensorsWriter::Create(conversion.output_path, std::move(declarations), conversion.metadata);
  if (!writer.ok()) return WithExitCode(writer.status(), ExitCode::kFile);

  const absl::Time begin = environment.clock.Now();
  ConversionReport report;
  {
    uint64_t total_bytes = 0;
    for (const ConversionStep& step : conversion.steps) total_bytes += BytesOf(step.inputs);
    const char* const verb = conversion.kind == Conversion::Kind::kQuantize ? "quantizing" : "dequantizing";
    Progress progress(environment.err, environment.err_is_terminal, environment.clock, verb, conversion.steps.size(),
                      total_bytes);
    Runner runner(conversion, arguments, environment, deadline, *client, **writer, progress);
    for (const ConversionStep& step : conversion.steps) {
      QUANTD_ASSIGN_OR_RETURN(ConvertedRow row, runner.Convert(step));
      report.converted.push_back(std::move(row));
    }
    for (const SafetensorsEntry* entry : conversion.copied) QUANTD_RETURN_IF_ERROR(runner.Copy(*entry));
  }
  QUANTD_RETURN_IF_ERROR(WithExitCode(conversion.input->StillWhole(), ExitCode::kFile));
  if (environment.cancel.cancelled()) return absl::CancelledError("interrupted; nothing was written");
  QUANTD_RETURN_IF_ERROR(WithExitCode((*writer)->Finish(), ExitCode::kFile));

  report.quantized = conversion.kind == Conversion::Kind::kQuantize;
  report.input_path = conversion.input_path;
  report.output_path = conversion.output_path;
  for (const SafetensorsEntry* entry : conversion.copied) report.copied.push_back({entry->name, entry->size_bytes()});
  report.output_file_bytes = (*writer)->size_bytes();
  report.time = environment.clock.Now() - begin;
  return report;
}

}  // namespace quantd::cli

#include "kernels/calibrate/calibration_file.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/crc32c.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/calibrate/statistics_codec.h"

namespace quantd {
namespace {

constexpr uint32_t kMagic = 0x4c414351;  // "QCAL"
constexpr size_t kHeaderBytes = 24;
constexpr size_t kLengthBytes = sizeof(uint32_t);
constexpr size_t kChecksumBytes = sizeof(uint32_t);

absl::Status Misuse(const std::string& what) { return absl::InternalError(absl::StrCat("CalibrationWriter: ", what)); }

absl::Status TooLarge(const std::string& what, std::string_view limit, uint64_t value) {
  return MakeError(absl::StatusCode::kResourceExhausted, reason::kStatisticsLimit,
                   absl::StrCat(what, ", at most ", value, " are allowed"),
                   {{std::string_view(limit), std::to_string(value)}});
}

}  // namespace

absl::Status Merge(Calibration& into, const Calibration& from) {
  if (into.config != from.config) {
    return InvalidArgument(reason::kIncompatibleStatistics, "the two calibrations have different configurations");
  }
  std::map<std::string, TensorStatistics> merged;
  for (const auto& [name, statistics] : from.tensors) {
    const auto found = into.tensors.find(name);
    TensorStatistics& target =
        merged.emplace(name, found == into.tensors.end() ? statistics : found->second).first->second;
    if (found == into.tensors.end()) continue;
    const absl::Status status = target.Merge(statistics);
    if (!status.ok()) {
      return WithDetails(absl::Status(status.code(), absl::StrCat("tensor '", name, "': ", status.message())),
                         {DetailsOf(status).reason, {{"tensor", name}}});
    }
  }
  for (auto& [name, statistics] : merged) into.tensors.insert_or_assign(name, std::move(statistics));
  return absl::OkStatus();
}

CalibrationWriter::CalibrationWriter(const StatisticsConfig& config, uint64_t tensor_count, Sink sink)
    : config_(config), tensor_count_(tensor_count), sink_(std::move(sink)) {}

absl::Status CalibrationWriter::Emit(std::span<const std::byte> bytes) {
  crc_ = ExtendCrc32c(crc_, bytes);
  return sink_(bytes);
}

absl::Status CalibrationWriter::Begin() {
  if (std::exchange(begun_, true)) return absl::OkStatus();
  ByteAppender header;
  header.Number(kMagic);
  header.Number(static_cast<uint16_t>(kQcalVersion));
  header.Number(static_cast<uint8_t>(config_.grouping));
  header.Number(static_cast<uint8_t>(config_.collection));
  header.Number(config_.axis);
  header.Number(config_.group_size);
  header.Number(tensor_count_);
  return Emit(header.bytes());
}

absl::Status CalibrationWriter::Write(std::string_view name, const TensorStatistics& statistics) {
  if (name.empty() || name.size() > kQcalNameBytesMax) return Misuse("a name's length");
  if (written_ != 0 && name <= last_name_) return Misuse("names are not in ascending order");
  if (written_ == tensor_count_) return Misuse("more tensors than announced");
  if (statistics.config() != config_) return Misuse("statistics of another configuration");
  QUANTD_RETURN_IF_ERROR(Begin());
  last_name_ = name;
  ++written_;
  ByteAppender record;
  record.Number(static_cast<uint16_t>(name.size()));
  record.Text(name);
  StatisticsCodec::Append(statistics, record);
  ByteAppender length;
  length.Number(static_cast<uint32_t>(record.bytes().size()));
  QUANTD_RETURN_IF_ERROR(Emit(length.bytes()));
  return Emit(record.bytes());
}

absl::Status CalibrationWriter::Finish() {
  if (written_ != tensor_count_) return Misuse("fewer tensors than announced");
  QUANTD_RETURN_IF_ERROR(Begin());
  ByteAppender checksum;
  checksum.Number(crc_);
  return sink_(checksum.bytes());
}

CalibrationReader::CalibrationReader(const CalibrationReadLimits& limits, OnConfig on_config, OnTensor on_tensor)
    : limits_(limits), on_config_(std::move(on_config)), on_tensor_(std::move(on_tensor)), part_bytes_(kHeaderBytes) {}

absl::Status CalibrationReader::Feed(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (state_ == State::kDone) return MalformedQcal("bytes behind the checksum");
    const size_t taken = std::min<uint64_t>(part_bytes_ - part_.size(), bytes.size());
    part_.insert(part_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    bytes = bytes.subspan(taken);
    if (part_.size() < part_bytes_) break;
    std::vector<std::byte> part;
    part.swap(part_);
    QUANTD_RETURN_IF_ERROR(Take(part));
  }
  return absl::OkStatus();
}

absl::Status CalibrationReader::Finish() {
  return state_ == State::kDone ? absl::OkStatus() : MalformedQcal("the file ends early");
}

absl::Status CalibrationReader::Take(std::span<const std::byte> part) {
  if (state_ == State::kChecksum) {
    state_ = State::kDone;
    if (ByteCursor(part).Number<uint32_t>() == crc_) return absl::OkStatus();
    return MakeError(absl::StatusCode::kDataLoss, reason::kChecksumMismatch,
                     "the .qcal file's checksum does not match its bytes: send it again");
  }
  crc_ = ExtendCrc32c(crc_, part);
  if (state_ == State::kHeader) return TakeHeader(part);
  if (state_ == State::kRecord) return TakeRecord(part);
  const uint32_t record_bytes = *ByteCursor(part).Number<uint32_t>();
  if (record_bytes == 0) return MalformedQcal("an empty record");
  if (record_bytes > limits_.record_bytes_max) {
    return TooLarge(absl::StrCat("a tensor's record has ", record_bytes, " bytes"), "record_bytes_max",
                    limits_.record_bytes_max);
  }
  state_ = State::kRecord;
  part_bytes_ = record_bytes;
  return absl::OkStatus();
}

absl::Status CalibrationReader::TakeHeader(std::span<const std::byte> part) {
  ByteCursor header(part);
  if (header.Number<uint32_t>() != kMagic) return MalformedQcal("it does not begin with QCAL");
  if (const auto version = *header.Number<uint16_t>(); version != kQcalVersion) {
    return MalformedQcal(absl::StrCat("it has version ", version));
  }
  StatisticsConfig config;
  config.grouping = static_cast<StatisticsGrouping>(*header.Number<uint8_t>());
  config.collection = static_cast<StatisticsCollection>(*header.Number<uint8_t>());
  config.axis = *header.Number<int32_t>();
  config.group_size = *header.Number<uint32_t>();
  tensors_left_ = *header.Number<uint64_t>();
  if (const absl::Status status = CheckStatisticsConfig(config); !status.ok()) {
    return MalformedQcal(std::string(status.message()));
  }
  if (tensors_left_ > limits_.tensors_max) {
    return TooLarge(absl::StrCat("the file has ", tensors_left_, " tensors"), "tensors_max", limits_.tensors_max);
  }
  config_ = config;
  AwaitRecordOrEnd();
  return on_config_(config);
}

absl::Status CalibrationReader::TakeRecord(std::span<const std::byte> part) {
  ByteCursor record(part);
  const auto name_bytes = record.Number<uint16_t>();
  if (!name_bytes || *name_bytes == 0 || *name_bytes > kQcalNameBytesMax) return MalformedQcal("a name's length");
  auto name = record.Text(*name_bytes);
  if (!name) return MalformedQcal("a record ends early");
  if (*name <= last_name_) return MalformedQcal("names that are not in ascending order");
  QUANTD_ASSIGN_OR_RETURN(TensorStatistics statistics,
                          StatisticsCodec::Parse(*config_, record, limits_.memory_bytes_max, memory_bytes_));
  if (record.left() != 0) return MalformedQcal("a record that is too long");
  last_name_ = *name;
  --tensors_left_;
  AwaitRecordOrEnd();
  return on_tensor_(*std::move(name), std::move(statistics));
}

void CalibrationReader::AwaitRecordOrEnd() {
  state_ = tensors_left_ != 0 ? State::kRecordLength : State::kChecksum;
  part_bytes_ = tensors_left_ != 0 ? kLengthBytes : kChecksumBytes;
}

std::vector<std::byte> ToQcal(const Calibration& calibration) {
  std::vector<std::byte> file;
  CalibrationWriter writer(calibration.config, calibration.tensors.size(), [&file](std::span<const std::byte> bytes) {
    file.insert(file.end(), bytes.begin(), bytes.end());
    return absl::OkStatus();
  });
  for (const auto& [name, statistics] : calibration.tensors) {
    if (!writer.Write(name, statistics).ok()) return {};
  }
  if (!writer.Finish().ok()) return {};
  return file;
}

absl::StatusOr<Calibration> FromQcal(std::span<const std::byte> bytes, const CalibrationReadLimits& limits) {
  Calibration calibration;
  CalibrationReader reader(
      limits,
      [&calibration](const StatisticsConfig& config) {
        calibration.config = config;
        return absl::OkStatus();
      },
      [&calibration](std::string name, TensorStatistics statistics) {
        calibration.tensors.emplace(std::move(name), std::move(statistics));
        return absl::OkStatus();
      });
  QUANTD_RETURN_IF_ERROR(reader.Feed(bytes));
  QUANTD_RETURN_IF_ERROR(reader.Finish());
  return calibration;
}

}  // namespace quantd

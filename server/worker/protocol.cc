#include "server/worker/protocol.h"

#include <optional>
#include <utility>

#include "server/worker/archive.h"

namespace quantd::server {
namespace {

constexpr uint32_t kMagic = 0x77677471;  // "qtgw"

template <class Archive>
void Fields(Archive& archive, StartMessage& message) {
  archive.Integer(message.slot_bytes);
  archive.Integer(message.slots);
  archive.Integer(message.units_in_flight);
  archive.Integer(message.memory_budget_bytes);
  archive.Text(message.device, kWorkerTextBytesMax);
}

template <class Archive>
void Fields(Archive& archive, ReadyMessage& message) {
  archive.Text(message.target, kWorkerTextBytesMax);
  archive.Integer(message.units_in_flight);
}

template <class Archive>
void Fields(Archive& archive, FailedMessage& message) {
  archive.Enumerator(message.code, absl::StatusCode::kCancelled, absl::StatusCode::kUnauthenticated);
  archive.Text(message.message, kWorkerTextBytesMax);
}

template <class Archive>
void Fields(Archive& archive, OpenPlanMessage& message) {
  archive.Integer(message.plan_slot);
  archive.Text(message.scheme.preset, kWorkerTextBytesMax);
  archive.Texts(message.scheme.overrides, kWorkerOverridesMax, kWorkerTextBytesMax);
  archive.Integer(message.scheme.format_revision);
  archive.Enumerator(message.direction, Direction::kQuantize, Direction::kDequantize);
  archive.Enumerator(message.values_dtype, DataType::kFloat32, DataType::kFloat8E5m2);
  archive.Integers(message.shape, kRankMax);
  for (auto* known : {&message.known.offset, &message.known.amax, &message.known.min, &message.known.max,
                      &message.known.global_scale}) {
    archive.Optional(*known);
  }
}

template <class Archive>
void Fields(Archive& archive, RunMessage& message) {
  archive.Integer(message.id);
  archive.Integer(message.plan_slot);
  archive.Integer(message.pass);
  archive.Integer(message.begin_unit);
  archive.Integer(message.end_unit);
  archive.Float(message.parameters.offset);
  archive.Float(message.parameters.global_scale);
  archive.Integer(message.parameters.scale.stored);
  archive.Float(message.parameters.scale.factor);
  archive.Float(message.parameters.scale.zero);
  for (uint64_t& offset : message.inputs) archive.Integer(offset);
  for (uint64_t& offset : message.outputs) archive.Integer(offset);
  archive.Bytes(message.whole_tensor_inputs, kWorkerInlineBytesMax);
}

template <class Archive>
void Fields(Archive& archive, ResultMessage& message) {
  archive.Integer(message.id);
  archive.Enumerator(message.code, absl::StatusCode::kOk, absl::StatusCode::kUnauthenticated);
  archive.Text(message.message, kWorkerTextBytesMax);
  archive.Integer(message.result.nonfinite_count);
  archive.Integer(message.result.first_nonfinite_element);
  archive.Float(message.result.range.amax);
  archive.Float(message.result.range.lowest);
  archive.Float(message.result.range.highest);
}

template <class Archive>
void Fields(Archive& archive, CancelMessage& message) {
  archive.Integer(message.id);
}

template <class Archive>
void Fields(Archive& archive, ProbeMessage& message) {
  archive.Integer(message.id);
}

template <class Archive>
void Fields(Archive&, TrimMessage&) {}

template <class Archive>
void Fields(Archive&, ShutdownMessage&) {}

void CutTexts(WorkerMessage& message) {
  const auto cut = [](std::string& text) { text.resize(std::min(text.size(), kWorkerTextBytesMax)); };
  if (auto* start = std::get_if<StartMessage>(&message)) cut(start->device);
  if (auto* ready = std::get_if<ReadyMessage>(&message)) cut(ready->target);
  if (auto* failed = std::get_if<FailedMessage>(&message)) cut(failed->message);
  if (auto* result = std::get_if<ResultMessage>(&message)) cut(result->message);
}

// The message whose place in the variant is `index`, empty; nothing beyond the last.
template <size_t kCandidate = 0>
std::optional<WorkerMessage> Alternative(size_t index) {
  if constexpr (kCandidate == std::variant_size_v<WorkerMessage>) {
    return std::nullopt;
  } else {
    if (index == kCandidate) return WorkerMessage(std::in_place_index<kCandidate>);
    return Alternative<kCandidate + 1>(index);
  }
}

absl::Status Malformed(const char* what) {
  return absl::InvalidArgumentError(std::string("a worker's message has ") + what);
}

}  // namespace

std::vector<std::byte> EncodeWorkerMessage(WorkerMessage message) {
  CutTexts(message);
  ArchiveWriter archive;
  uint32_t magic = kMagic;
  uint16_t version = kWorkerProtocolVersion;
  auto type = static_cast<uint8_t>(message.index());
  archive.Integer(magic);
  archive.Integer(version);
  archive.Integer(type);
  std::visit([&](auto& alternative) { Fields(archive, alternative); }, message);
  return archive.Take();
}

absl::StatusOr<WorkerMessage> DecodeWorkerMessage(std::span<const std::byte> bytes) {
  if (bytes.size() > kWorkerMessageBytesMax) return Malformed("too many bytes");
  ArchiveReader archive(bytes);
  uint32_t magic = 0;
  uint16_t version = 0;
  uint8_t type = 0;
  archive.Integer(magic);
  archive.Integer(version);
  archive.Integer(type);
  if (!archive.ok() || magic != kMagic) return Malformed("no such beginning");
  if (version != kWorkerProtocolVersion) {
    return Malformed("another version: install quantd and quantd-gpu-worker of one release");
  }
  std::optional<WorkerMessage> message = Alternative(type);
  if (!message.has_value()) return Malformed("an unknown type");
  std::visit([&](auto& alternative) { Fields(archive, alternative); }, *message);
  if (!archive.ok()) return Malformed("a field that is cut off or out of range");
  if (!archive.at_end()) return Malformed("bytes after its last field");
  return *std::move(message);
}

}  // namespace quantd::server

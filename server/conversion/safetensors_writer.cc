#include "server/conversion/safetensors_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::server {
namespace {

constexpr int kTemporaryNamesTried = 100;

std::string TemporaryName(const std::string& path) {
  std::random_device random;
  char suffix[9];
  std::snprintf(suffix, sizeof(suffix), "%08" PRIx32, static_cast<uint32_t>(random()));
  return path + ".tmp-" + suffix;
}

// A rename is durable only when the folder is.
absl::Status SyncFolderOf(const std::string& path, FileOps& ops) {
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError("cannot open the folder of " + Quoted(path), errno);
  const int result = ops.Fsync(fd);
  const int error_number = errno;
  ::close(fd);
  // Some file systems cannot sync a folder; they make the rename durable themselves or never.
  if (result == 0 || error_number == EINVAL) return absl::OkStatus();
  return FileError("cannot sync the folder of " + Quoted(path), error_number);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, std::vector<SafetensorsDeclaration> tensors,
    const std::map<std::string, std::string>& metadata, FileOps& ops) {
  QUANTD_ASSIGN_OR_RETURN(const SafetensorsLayout layout, LayOutSafetensors(std::move(tensors), metadata));
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(Quoted(path) + " is there and is not a regular file; name another target");
  }
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter(path, ops));
  QUANTD_RETURN_IF_ERROR(writer->OpenTemporary());
  QUANTD_RETURN_IF_ERROR(writer->Start(layout));
  return writer;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_path_.empty()) ::unlink(temporary_path_.c_str());
}

absl::Status SafetensorsWriter::OpenTemporary() {
  for (int attempt = 0; attempt < kTemporaryNamesTried; ++attempt) {
    const std::string candidate = TemporaryName(path_);
    fd_ = ::open(candidate.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ >= 0) {
      temporary_path_ = candidate;
      return absl::OkStatus();
    }
    if (errno != EEXIST) break;
  }
  return FileError("cannot create " + Quoted(path_), errno);
}

absl::Status SafetensorsWriter::Start(const SafetensorsLayout& layout) {
  prefix_bytes_ = layout.prefix.size();
  data_bytes_ = layout.data_bytes;
  const std::optional<uint64_t> total_bytes = CheckedAdd(prefix_bytes_, data_bytes_);
  if (!total_bytes.has_value() || *total_bytes > INT64_MAX) {
    return absl::InvalidArgumentError(Quoted(path_) + " would exceed 2^63 bytes");
  }
  if (ops_.Allocate(fd_, *total_bytes) != 0) {
    return FileError(absl::StrCat("cannot reserve ", *total_bytes, " bytes for ", Quoted(path_)), errno);
  }
  for (const SafetensorsEntry& entry : layout.tensors) targets_.emplace(entry.name, Target{entry, {}});
  return WriteFully(0, std::as_bytes(std::span(layout.prefix)));
}

absl::Status SafetensorsWriter::Write(const std::string& tensor, uint64_t offset, std::span<const std::byte> bytes) {
  const auto found = targets_.find(tensor);
  if (found == targets_.end()) return absl::NotFoundError("no tensor " + Quoted(tensor) + " was declared");
  Target& target = found->second;
  const uint64_t size_bytes = target.entry.size_bytes();
  if (offset > size_bytes || bytes.size() > size_bytes - offset) {
    return absl::OutOfRangeError(
        absl::StrCat("tensor ", Quoted(tensor), " has ", size_bytes, " bytes, not ", offset, " + ", bytes.size()));
  }
  if (bytes.empty()) return absl::OkStatus();
  QUANTD_RETURN_IF_ERROR(AddRun(target, offset, offset + bytes.size()));
  return WriteFully(prefix_bytes_ + target.entry.begin_bytes + offset, bytes);
}

absl::Status SafetensorsWriter::AddRun(Target& target, uint64_t begin, uint64_t end) {
  auto next = target.runs.lower_bound(begin);
  const bool meets_next = next != target.runs.end() && next->first < end;
  const auto previous = next == target.runs.begin() ? target.runs.end() : std::prev(next);
  const bool meets_previous = previous != target.runs.end() && previous->second > begin;
  if (meets_next || meets_previous) {
    return absl::AlreadyExistsError(
        absl::StrCat("bytes of tensor ", Quoted(target.entry.name), " from ", begin, " came twice"));
  }
  if (next != target.runs.end() && next->first == end) {
    end = next->second;
    target.runs.erase(next);
  }
  if (previous != target.runs.end() && previous->second == begin) {
    previous->second = end;
    return absl::OkStatus();
  }
  if (target.runs.size() == kRunsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("tensor ", Quoted(target.entry.name), " comes in more than ", kRunsMax, " separate runs"));
  }
  target.runs.emplace(begin, end);
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::WriteFully(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ops_.Pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("cannot write " + Quoted(path_), errno);
    if (count == 0) return FileError("cannot write " + Quoted(path_), EIO);
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  for (const auto& [name, target] : targets_) {
    const uint64_t size_bytes = target.entry.size_bytes();
    // Neighbouring runs are merged, so a complete tensor is one run.
    const bool complete = size_bytes == 0 || (target.runs.size() == 1 && target.runs.begin()->first == 0 &&
                                              target.runs.begin()->second == size_bytes);
    if (!complete) {
      return absl::FailedPreconditionError(absl::StrCat("not all ", size_bytes, " bytes of tensor ", Quoted(name),
                                                        " came; ", Quoted(path_), " was not written"));
    }
  }
  if (ops_.Fsync(fd_) != 0) return FileError("cannot make " + Quoted(path_) + " durable", errno);
  if (ops_.Rename(temporary_path_, path_) != 0) return FileError("cannot name " + Quoted(path_), errno);
  temporary_path_.clear();
  return SyncFolderOf(path_, ops_);
}

}  // namespace quantd::server

#include "server/conversion/safetensors_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::server {
namespace {

absl::Status ReadFully(FileOps& ops, int fd, const std::string& path, uint64_t offset, std::byte* target,
                       uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t count = ops.Pread(fd, target, bytes, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("cannot read " + Quoted(path), errno);
    if (count == 0) return absl::AbortedError(Quoted(path) + " became shorter while it was read");
    target += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<uint64_t>(count);
  }
  return absl::OkStatus();
}

absl::Status Malformed(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(Quoted(path), " is not a readable safetensors file: ", what));
}

uint64_t LittleEndian64(const std::byte* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<uint64_t>(bytes[i]);
  return value;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsReader>> SafetensorsReader::Open(const std::string& path, FileOps& ops) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FileError("cannot open " + Quoted(path), errno);
  std::unique_ptr<SafetensorsReader> reader(new SafetensorsReader(path, fd));
  QUANTD_RETURN_IF_ERROR(reader->Load(ops));
  return reader;
}

SafetensorsReader::~SafetensorsReader() {
  if (mapping_ != nullptr) ::munmap(const_cast<std::byte*>(mapping_), identity_.size_bytes);
  ::close(fd_);
}

absl::StatusOr<SafetensorsReader::Identity> SafetensorsReader::Identify() const {
  struct stat info{};
  if (::fstat(fd_, &info) != 0) return FileError("cannot read " + Quoted(path_), errno);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(Quoted(path_) + " is not a regular file");
  return Identity{static_cast<uint64_t>(info.st_size), info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

absl::Status SafetensorsReader::Load(FileOps& ops) {
  QUANTD_ASSIGN_OR_RETURN(identity_, Identify());
  if (identity_.size_bytes < kSafetensorsLengthBytes) return Malformed(path_, "it is shorter than 8 bytes");
  std::byte length[kSafetensorsLengthBytes];
  QUANTD_RETURN_IF_ERROR(ReadFully(ops, fd_, path_, 0, length, sizeof(length)));
  const uint64_t header_bytes = LittleEndian64(length);
  if (header_bytes > kSafetensorsHeaderBytesMax) {
    return Malformed(path_, absl::StrCat("its header says ", header_bytes, " bytes, more than the format's ",
                                         kSafetensorsHeaderBytesMax));
  }
  if (header_bytes > identity_.size_bytes - kSafetensorsLengthBytes) {
    return Malformed(path_, absl::StrCat("its header says ", header_bytes, " bytes, the file has ",
                                         identity_.size_bytes, "; is it complete?"));
  }
  // Read, not mapped: the header must stay the same while it is checked.
  std::string json(header_bytes, '\0');
  QUANTD_RETURN_IF_ERROR(
      ReadFully(ops, fd_, path_, kSafetensorsLengthBytes, reinterpret_cast<std::byte*>(json.data()), header_bytes));
  data_begin_bytes_ = kSafetensorsLengthBytes + header_bytes;
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(json, identity_.size_bytes - data_begin_bytes_);
  if (!header.ok()) return Malformed(path_, std::string(header.status().message()));
  header_ = *std::move(header);
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_.emplace(header_.tensors[i].name, i);

  void* mapping = ::mmap(nullptr, identity_.size_bytes, PROT_READ, MAP_PRIVATE, fd_, 0);
  if (mapping == MAP_FAILED) return FileError("cannot map " + Quoted(path_), errno);
  mapping_ = static_cast<const std::byte*>(mapping);
  return absl::OkStatus();
}

const SafetensorsEntry* SafetensorsReader::Find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

std::span<const std::byte> SafetensorsReader::BytesOf(const SafetensorsEntry& entry) const {
  return {mapping_ + data_begin_bytes_ + entry.begin_bytes, entry.size_bytes()};
}

absl::Status SafetensorsReader::StillWhole() const {
  QUANTD_ASSIGN_OR_RETURN(const Identity now, Identify());
  if (now == identity_) return absl::OkStatus();
  return absl::AbortedError(Quoted(path_) + " was changed while it was read; run again when its writer is done");
}

void SafetensorsReader::Release(std::span<const std::byte> bytes) const {
  // Pages that are only partly inside stay: their other bytes may be in use.
  const uint64_t page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t address = reinterpret_cast<uintptr_t>(bytes.data());
  const uint64_t skipped_bytes = AlignUp(address, page_bytes) - address;
  if (bytes.size() < skipped_bytes + page_bytes) return;
  const std::span<const std::byte> pages = bytes.subspan(skipped_bytes);
  ::madvise(const_cast<std::byte*>(pages.data()), pages.size() / page_bytes * page_bytes, MADV_DONTNEED);
}

}  // namespace quantd::server

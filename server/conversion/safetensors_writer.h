// Writes a safetensors file whose tensors are known by size before their bytes come, in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "server/conversion/file_ops.h"
#include "server/conversion/safetensors_header.h"

namespace quantd::server {

// The file appears under its name when it is complete, or not at all: until Finish it is NAME.tmp-XXXXXXXX in the same
// folder, and the destructor removes that. Not safe for two threads at once.
class SafetensorsWriter {
 public:
  // Runs of bytes that may be there without those between them, for one tensor.
  static constexpr size_t kRunsMax = 65536;

  // Lays the file out, reserves its disk space and writes its header.
  // INVALID_ARGUMENT as LayOutSafetensors; FAILED_PRECONDITION: `path` is there and is not a regular file;
  // RESOURCE_EXHAUSTED: no room; else as FileError.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(const std::string& path,
                                                                   std::vector<SafetensorsDeclaration> tensors,
                                                                   const std::map<std::string, std::string>& metadata,
                                                                   FileOps& ops = SystemFileOps());
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Writes bytes [offset, offset + bytes.size()) of a tensor; every byte must come exactly once.
  // NOT_FOUND: no such tensor. OUT_OF_RANGE: beyond its end. ALREADY_EXISTS: bytes that came before.
  // RESOURCE_EXHAUSTED: more than kRunsMax separate runs, or no room; else as FileError.
  absl::Status Write(const std::string& tensor, uint64_t offset, std::span<const std::byte> bytes);

  // Makes the file durable and gives it its name, in place of a file that had it. Nothing may follow.
  // FAILED_PRECONDITION naming a tensor whose bytes are not all there; else as FileError.
  absl::Status Finish();

  // Of the whole file.
  uint64_t size_bytes() const { return prefix_bytes_ + data_bytes_; }

 private:
  struct Target {
    SafetensorsEntry entry;
    std::map<uint64_t, uint64_t> runs;  // begin → end of the bytes that came; neighbours are merged
  };

  SafetensorsWriter(std::string path, FileOps& ops) : path_(std::move(path)), ops_(ops) {}
  absl::Status OpenTemporary();
  absl::Status Start(const SafetensorsLayout& layout);
  absl::Status WriteFully(uint64_t offset, std::span<const std::byte> bytes);
  absl::Status AddRun(Target& target, uint64_t begin, uint64_t end);

  const std::string path_;
  FileOps& ops_;
  std::string temporary_path_;  // empty: there is no temporary
  int fd_ = -1;
  uint64_t prefix_bytes_ = 0;
  uint64_t data_bytes_ = 0;
  std::unordered_map<std::string, Target> targets_;
};

}  // namespace quantd::server

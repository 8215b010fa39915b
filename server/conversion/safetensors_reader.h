// A safetensors file as spans.
//
// The data is mapped, not read: the client's calls take a whole tensor as one span, and only what is being sent needs
// memory. Its price: reading bytes that a truncation has taken away raises SIGBUS. StillWhole() finds the change
// between tensors; a program that must survive it inside one installs a handler, as quantctl does.
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

// Owns the mapping. Safe from any thread.
class SafetensorsReader {
 public:
  // NOT_FOUND, PERMISSION_DENIED: the file cannot be opened. INVALID_ARGUMENT: it is not a regular file, or not a
  // safetensors file that ParseSafetensorsHeader takes. RESOURCE_EXHAUSTED: no address space.
  static absl::StatusOr<std::unique_ptr<SafetensorsReader>> Open(const std::string& path,
                                                                 FileOps& ops = SystemFileOps());
  ~SafetensorsReader();
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;

  const std::string& path() const { return path_; }
  // In the order of their bytes.
  const std::vector<SafetensorsEntry>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  // Null if there is none of that name. Valid as long as this object.
  const SafetensorsEntry* Find(const std::string& name) const;
  // The tensor's bytes; `entry` is one of this file's. Valid as long as this object.
  std::span<const std::byte> BytesOf(const SafetensorsEntry& entry) const;

  // ABORTED if the file's size or modification time is no longer what it was at Open.
  absl::Status StillWhole() const;
  // The pages in `bytes`, a part of what BytesOf gave, may leave memory. They come back from the file when read.
  void Release(std::span<const std::byte> bytes) const;

 private:
  struct Identity {
    uint64_t size_bytes = 0;
    int64_t modified_seconds = 0;
    int64_t modified_nanoseconds = 0;

    bool operator==(const Identity&) const = default;
  };

  SafetensorsReader(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  absl::StatusOr<Identity> Identify() const;
  absl::Status Load(FileOps& ops);

  const std::string path_;
  const int fd_;
  Identity identity_;
  const std::byte* mapping_ = nullptr;
  uint64_t data_begin_bytes_ = 0;
  SafetensorsHeader header_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace quantd::server

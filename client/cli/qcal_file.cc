#include "client/cli/qcal_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "kernels/base/error.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using server::Quoted;

constexpr size_t kReadBytes = 1 << 20;
constexpr mode_t kFileMode = 0666;  // less what the umask takes

absl::Status InFile(const absl::Status& status, const std::string& path) {
  if (status.ok()) return status;
  absl::Status named(status.code(), absl::StrCat(Quoted(path), ": ", std::string(status.message())));
  return WithExitCode(WithDetails(std::move(named), DetailsOf(status)), ExitCode::kFile);
}

absl::Status Failed(const std::string& action, const std::string& path, int error_number) {
  return WithExitCode(server::FileError(absl::StrCat("cannot ", action, " ", Quoted(path)), error_number),
                      ExitCode::kFile);
}

// A file that is not there any more unless it was kept.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path)
      : path_(std::move(path)), fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode)) {}
  ~TemporaryFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    if (!kept_) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  void Keep() { kept_ = true; }

 private:
  const std::string path_;
  const int fd_;
  bool kept_ = false;
};

}  // namespace

absl::StatusOr<Calibration> ReadQcalFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return Failed("open", path, errno);
  std::optional<Calibration> calibration;
  CalibrationReader reader(
      {},
      [&](const StatisticsConfig& config) {
        calibration = Calibration{config, {}};
        return absl::OkStatus();
      },
      [&](std::string name, TensorStatistics statistics) {
        calibration->tensors.emplace(std::move(name), std::move(statistics));
        return absl::OkStatus();
      });
  std::vector<std::byte> part(kReadBytes);
  while (stream) {
    stream.read(reinterpret_cast<char*>(part.data()), static_cast<std::streamsize>(part.size()));
    if (stream.bad()) return Failed("read", path, EIO);
    const auto read = std::span(part).first(static_cast<size_t>(stream.gcount()));
    if (absl::Status status = reader.Feed(read); !status.ok()) return InFile(status, path);
  }
  if (absl::Status status = reader.Finish(); !status.ok()) return InFile(status, path);
  return *std::move(calibration);
}

absl::Status WriteWholeFile(const std::string& path, std::span<const std::byte> bytes, server::FileOps& ops) {
  TemporaryFile file(absl::StrCat(path, ".tmp-", ::getpid()));
  if (file.fd() < 0) return Failed("write", path, errno);
  uint64_t offset = 0;
  while (offset < bytes.size()) {
    const ssize_t written = ops.Pwrite(file.fd(), bytes.data() + offset, bytes.size() - offset, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Failed("write", path, written < 0 ? errno : ENOSPC);
    offset += static_cast<uint64_t>(written);
  }
  if (ops.Fsync(file.fd()) != 0) return Failed("write", path, errno);
  if (ops.Rename(file.path(), path) != 0) return Failed("write", path, errno);
  file.Keep();
  return absl::OkStatus();
}

}  // namespace quantd::cli

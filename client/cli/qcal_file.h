// `.qcal` files on disk.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/calibrate/calibration_file.h"
#include "server/conversion/file_ops.h"

namespace quantd::cli {

// Errors carry kFile and name the path; those of CalibrationReader among them.
absl::StatusOr<Calibration> ReadQcalFile(const std::string& path);

// The file appears under its name when it is complete, or not at all. Errors carry kFile and name the path.
absl::Status WriteWholeFile(const std::string& path, std::span<const std::byte> bytes,
                            server::FileOps& ops = server::SystemFileOps());

}  // namespace quantd::cli

// What a conversion did, as a table and as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/cpp/client.h"

namespace quantd::cli {

// One tensor that went through the server.
struct ConvertedRow {
  std::string name;
  DataType values_dtype{};
  std::vector<uint64_t> shape;
  SchemeRequest scheme;  // fully resolved
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  absl::Duration time;  // of the call
  Summary summary;
};

struct CopiedRow {
  std::string name;
  uint64_t bytes = 0;
};

struct ConversionReport {
  bool quantized = false;  // else dequantized
  std::string input_path;
  std::string output_path;
  std::vector<ConvertedRow> converted;
  std::vector<CopiedRow> copied;
  uint64_t output_file_bytes = 0;
  absl::Duration time;  // of everything, writing and syncing the file included
};

// GB/s are 10^9 bytes of values (floats) in a second; bits per weight count the quantized side.
std::string FormatTable(const ConversionReport& report);
std::string FormatJson(const ConversionReport& report);

}  // namespace quantd::cli

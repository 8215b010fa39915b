// Reads the files of tests/golden. Throws std::runtime_error with the file's name if one is missing or damaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace quantd::testing {

// The uncompressed bytes of tests/golden/<file_name>, an .xz file.
std::vector<std::byte> ReadGoldenXz(const std::string& file_name);

struct GoldenTensor {
  std::string dtype;  // as in safetensors: "F32"
  std::vector<uint64_t> shape;
  std::span<const std::byte> bytes;  // valid as long as the GoldenFile
};

// One entry of the metadata key `cases`.
struct GoldenCase {
  std::string key;     // the tensors are named <key>.<what>
  std::string format;  // "nf4", "fp4", "dynamic8", "llm_int8", "int-quantized", "mxfp4", "e4m3fn", "Q4_0"
  std::string dtype;   // "float32"; empty where the file does not say it
  uint32_t block_size = 0;
  std::map<std::string, std::string> fields;  // all that the file says of it: a text as it is, anything else as JSON
};

// A safetensors file in memory.
class GoldenFile {
 public:
  // "bnb_4bit" for tests/golden/bnb_4bit.safetensors.xz.
  explicit GoldenFile(const std::string& name);
  GoldenFile(const GoldenFile&) = delete;
  GoldenFile& operator=(const GoldenFile&) = delete;

  const std::vector<GoldenCase>& cases() const { return cases_; }
  bool Has(const std::string& tensor) const { return tensors_.contains(tensor); }
  // Throws std::runtime_error if there is no such tensor.
  const GoldenTensor& Tensor(const std::string& name) const;

 private:
  std::vector<std::byte> bytes_;
  std::map<std::string, GoldenTensor> tensors_;
  std::vector<GoldenCase> cases_;
};

}  // namespace quantd::testing

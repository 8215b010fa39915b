// Which of our schemes makes which bytes of the golden files: the one list that every test of all golden bytes walks.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/base/data_type.h"
#include "tests/support/golden.h"
#include "tests/support/reference_scheme.h"

namespace quantd::testing {

// One tensor that a library quantized, dequantized, or both.
struct GoldenScheme {
  std::string key;  // of the case, for messages
  std::string preset;
  std::map<std::string, std::string> overrides;
  std::vector<uint64_t> shape;
  ReferenceStatistics known;                    // for Quantize
  DataType dtype{};                             // of `input`
  std::string input;                            // golden tensor; empty: the file has only the other direction
  std::map<std::string, std::string> segments;  // our name → golden tensor
  DataType dequantized_dtype{};
  std::string dequantized;  // golden tensor; empty: the file has only the other direction
};

// Every case of bnb_4bit, bnb_8bit, bnb_double_quant, bnb_special, compressed_tensors, fp8_casts, ggml or mx, which
// `file` is. Left out: compressed_tensors on "cpu", which is not the arithmetic that the ct presets promise.
std::vector<GoldenScheme> GoldenSchemesOf(const GoldenFile& file, const std::string& file_name);

// The bytes of a tensor that a GoldenScheme names: in the file, or every bit pattern of 8 or 16 bits in order.
Bytes GoldenBytes(const GoldenFile& file, const std::string& tensor);

}  // namespace quantd::testing

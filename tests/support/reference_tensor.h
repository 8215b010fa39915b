// A resolved scheme and the tensor it is applied to.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/reference_scheme.h"

namespace quantd::testing {

struct ReferenceOptions {
  std::string element;
  std::string grouping;
  uint64_t block_size = 0;
  uint64_t group_size = 0;
  uint64_t tile_rows = 0;
  uint64_t tile_cols = 0;
  bool symmetric = true;
  std::string scale_dtype;
  std::string scale_rule;
  bool double_quant = false;
  std::string nested_code;
  uint64_t nested_block_size = 0;
  bool searches_range = false;  // range=mse
  bool saturate = true;         // overflow=saturate
};

struct ReferenceTensor {
  ReferenceOptions options;
  DataType dtype{};
  uint64_t rows = 0;
  uint64_t columns = 0;
  std::vector<float> values;  // widened, free of NaN and infinity unless nonfinite=library; empty for Dequantize
  ReferenceStatistics known;
  std::vector<float> importance;  // of each column; empty: all count the same

  uint64_t size() const { return rows * columns; }
  // The type of the scales, where they are floats; otherwise the tensor's own.
  DataType ScaleType() const { return DataTypeNamed(options.scale_dtype).value_or(dtype); }
};

using Segments = std::map<std::string, Bytes>;

// One pair for each arithmetic. Dequantize gives float32, to be rounded to the tensor's type.
Segments QuantizeStrict(const ReferenceTensor& tensor);
std::vector<float> DequantizeStrict(const ReferenceTensor& tensor, const Segments& segments);
Segments QuantizeBitsandbytes(const ReferenceTensor& tensor);
std::vector<float> DequantizeBitsandbytes(const ReferenceTensor& tensor, const Segments& segments);
Segments QuantizeCompressedTensors(const ReferenceTensor& tensor);
std::vector<float> DequantizeCompressedTensors(const ReferenceTensor& tensor, const Segments& segments);
Segments QuantizeTorchao(const ReferenceTensor& tensor);
std::vector<float> DequantizeTorchao(const ReferenceTensor& tensor, const Segments& segments);
Segments QuantizeGgml(const ReferenceTensor& tensor);
std::vector<float> DequantizeGgml(const ReferenceTensor& tensor, const Segments& segments);

}  // namespace quantd::testing

#include "tests/support/reference_scheme.h"

#include <functional>
#include <numeric>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_tensor.h"
#include "tests/support/reference_values.h"

namespace quantd::testing {
namespace {

using Scheme = std::map<std::string, std::string>;

struct Arithmetic {
  Segments (*quantize)(const ReferenceTensor& tensor);
  std::vector<float> (*dequantize)(const ReferenceTensor& tensor, const Segments& segments);
};

const Arithmetic& ArithmeticNamed(const std::string& name) {
  static const std::map<std::string, Arithmetic> arithmetics = {
      {"strict", {QuantizeStrict, DequantizeStrict}},
      {"bitsandbytes", {QuantizeBitsandbytes, DequantizeBitsandbytes}},
      {"compressed_tensors", {QuantizeCompressedTensors, DequantizeCompressedTensors}},
      {"torchao", {QuantizeTorchao, DequantizeTorchao}},
      {"ggml", {QuantizeGgml, DequantizeGgml}},
  };
  return arithmetics.at(name);
}

ReferenceOptions OptionsOf(const Scheme& scheme) {
  const auto text = [&](const std::string& name, const std::string& otherwise) {
    const auto option = scheme.find(name);
    return option == scheme.end() ? otherwise : option->second;
  };
  const auto number = [&](const std::string& name, const std::string& otherwise = "0") {
    return std::stoull(text(name, otherwise));
  };
  const std::string element = scheme.at("element");
  const bool is_cast = element == "bf16" || element == "fp16";
  return {.element = element,
          .grouping = text("grouping", "none"),
          .block_size = number("block_size"),
          .group_size = number("group_size"),
          .tile_rows = number("tile_rows"),
          .tile_cols = number("tile_cols"),
          .symmetric = text("symmetric", "true") == "true",
          .scale_dtype = text("scale_dtype", "none"),
          .scale_rule = text("scale_rule", ""),
          .double_quant = text("double_quant", "false") == "true",
          .nested_code = text("nested_code", ""),
          .nested_block_size = number("nested_block_size", "256"),
          .searches_range = text("range", "minmax") == "mse",
          .saturate = text("overflow", is_cast ? "ieee" : "saturate") == "saturate"};
}

// Without values.
ReferenceTensor TensorOf(const Scheme& scheme, DataType dtype, const std::vector<uint64_t>& shape) {
  const uint64_t columns = shape.empty() ? 1 : shape.back();
  const uint64_t rows =
      shape.empty() ? 1 : std::accumulate(shape.begin(), shape.end() - 1, uint64_t{1}, std::multiplies<>());
  return {.options = OptionsOf(scheme), .dtype = dtype, .rows = rows, .columns = columns};
}

}  // namespace

Segments ReferenceQuantize(const Scheme& scheme, DataType dtype, const std::vector<uint64_t>& shape,
                           const Bytes& values, const ReferenceStatistics& known, const ReferenceChannels& channels) {
  ReferenceTensor tensor = TensorOf(scheme, dtype, shape);
  tensor.known = known;
  tensor.importance = channels.importance;
  tensor.values = ReadFloats(dtype, values);
  if (!channels.smoothing_factors.empty()) {
    for (uint64_t i = 0; i < tensor.values.size(); ++i) {
      const float product = Product(tensor.values[i], channels.smoothing_factors[i % tensor.columns]);
      tensor.values[i] = RoundedTo(dtype, product);
    }
  }
  const auto nonfinite = scheme.find("nonfinite");
  if (nonfinite == scheme.end() || nonfinite->second != "library") {
    tensor.values = WithoutNonfinite(dtype, tensor.values);
  }
  return ArithmeticNamed(scheme.at("arithmetic")).quantize(tensor);
}

Bytes ReferenceDequantize(const Scheme& scheme, DataType dtype, const std::vector<uint64_t>& shape,
                          const Segments& segments) {
  return WriteFloats(dtype,
                     ArithmeticNamed(scheme.at("arithmetic")).dequantize(TensorOf(scheme, dtype, shape), segments));
}

}  // namespace quantd::testing

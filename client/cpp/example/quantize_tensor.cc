// Quantizes a random tensor to 4 bits and back through a quantd server, and prints what that cost in precision.
//
//   quantize_tensor HOST:PORT
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "client/cpp/client.h"
#include "kernels/base/status_macros.h"

namespace {

constexpr uint64_t kRows = 256, kColumns = 512;

std::vector<float> RandomWeights() {
  std::mt19937 random(2024);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> weights(kRows * kColumns);
  for (float& weight : weights) weight = normal(random);
  return weights;
}

double SignalToNoiseDb(std::span<const float> original, std::span<const float> restored) {
  double signal = 0, noise = 0;
  for (size_t i = 0; i < original.size(); ++i) {
    signal += static_cast<double>(original[i]) * original[i];
    noise += std::pow(static_cast<double>(original[i]) - restored[i], 2);
  }
  return 10 * std::log10(signal / noise);
}

absl::Status QuantizeAndBack(const char* address) {
  const std::vector<float> weights = RandomWeights();
  const quantd::TensorView tensor{
      "weights", quantd::DataType::kFloat32, {kRows, kColumns}, std::as_bytes(std::span(weights))};

  QUANTD_ASSIGN_OR_RETURN(auto client, quantd::Client::Create({.address = address}));
  QUANTD_ASSIGN_OR_RETURN(quantd::QuantizedTensor quantized, client->Quantize(tensor, {.preset = "bnb-nf4"}));
  QUANTD_ASSIGN_OR_RETURN(quantd::Tensor back, client->Dequantize(quantized.View(), quantd::DataType::kFloat32));

  uint64_t bytes = 0;
  for (const quantd::Segment& segment : quantized.segments) bytes += segment.bytes.size();
  std::vector<float> restored(weights.size());
  std::memcpy(restored.data(), back.values.data(), back.values.size());
  std::printf("%zu values, %.2f bits each, SNR %.2f dB\n", weights.size(), 8.0 * bytes / weights.size(),
              SignalToNoiseDb(weights, restored));
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s HOST:PORT\n", argv[0]);
    return 2;
  }
  const absl::Status status = QuantizeAndBack(argv[1]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

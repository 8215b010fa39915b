#include "tests/support/golden.h"

#include <lzma.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace quantd::testing {
namespace {

std::map<std::string, std::string> FieldsOf(const nlohmann::json& entry) {
  std::map<std::string, std::string> fields;
  for (const auto& [name, value] : entry.items()) {
    fields[name] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return fields;
}

}  // namespace

std::vector<std::byte> ReadGoldenXz(const std::string& file_name) {
  const std::string path = std::string(QUANTD_GOLDEN_DIR) + "/" + file_name;
  std::ifstream file(path, std::ios::binary);
  const std::string compressed{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (compressed.empty()) throw std::runtime_error("cannot read " + path);

  constexpr uint64_t kMemoryBytesMax = uint64_t{256} << 20;
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&stream, kMemoryBytesMax, 0) != LZMA_OK) throw std::runtime_error("no memory for " + path);
  stream.next_in = reinterpret_cast<const uint8_t*>(compressed.data());
  stream.avail_in = compressed.size();
  std::vector<std::byte> bytes;
  std::vector<std::byte> chunk(1 << 20);
  lzma_ret result = LZMA_OK;
  while (result == LZMA_OK) {
    stream.next_out = reinterpret_cast<uint8_t*>(chunk.data());
    stream.avail_out = chunk.size();
    result = lzma_code(&stream, LZMA_FINISH);
    bytes.insert(bytes.end(), chunk.begin(), chunk.end() - static_cast<std::ptrdiff_t>(stream.avail_out));
  }
  lzma_end(&stream);
  if (result != LZMA_STREAM_END) throw std::runtime_error("damaged: " + path);
  return bytes;
}

GoldenFile::GoldenFile(const std::string& name) : bytes_(ReadGoldenXz(name + ".safetensors.xz")) {
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes_.data(), sizeof(header_bytes));
  const auto* text = reinterpret_cast<const char*>(bytes_.data()) + sizeof(header_bytes);
  const auto header = nlohmann::json::parse(text, text + header_bytes);
  const std::span<const std::byte> data = std::span(bytes_).subspan(sizeof(header_bytes) + header_bytes);
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") continue;
    const uint64_t begin = entry.at("data_offsets").at(0);
    const uint64_t end = entry.at("data_offsets").at(1);
    tensors_[key] = {entry.at("dtype"), entry.at("shape"), data.subspan(begin, end - begin)};
  }
  for (const auto& entry : nlohmann::json::parse(header.at("__metadata__").at("cases").get<std::string>())) {
    cases_.push_back({entry.at("key"), entry.at("format"), entry.value("dtype", ""), entry.value("block_size", 0u),
                      FieldsOf(entry)});
  }
}

const GoldenTensor& GoldenFile::Tensor(const std::string& name) const {
  const auto tensor = tensors_.find(name);
  if (tensor == tensors_.end()) throw std::runtime_error("no golden tensor " + name);
  return tensor->second;
}

}  // namespace quantd::testing

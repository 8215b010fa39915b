#include "tests/support/reference_packing.h"

#include <utility>

#include "tests/support/reference_elements.h"

namespace quantd::testing {
namespace {

bool FirstIsHigh(const std::string& element) { return element == "nf4" || element == "fp4_bnb"; }

bool RowByRow(const std::string& grouping) {
  return grouping == "channel" || grouping == "group" || grouping == "tile";
}

// In both directions: 0x12 becomes 0x21.
void SwapHalves(Bytes& bytes) {
  for (std::byte& byte : bytes) byte = byte << 4 | byte >> 4;
}

std::vector<uint32_t> RowsWithOneMore(const std::vector<uint32_t>& codes, uint64_t columns, uint32_t last) {
  std::vector<uint32_t> rows;
  for (size_t i = 0; i < codes.size(); ++i) {
    rows.push_back(codes[i]);
    if ((i + 1) % columns == 0) rows.push_back(last);
  }
  return rows;
}

uint64_t RowBits(uint64_t columns, int bits, int unit_bits) {
  const uint64_t used = columns * static_cast<uint64_t>(bits);
  const auto unit = static_cast<uint64_t>(unit_bits);
  return (used + unit - 1) / unit * unit;
}

}  // namespace

Bytes PackRows(const std::vector<uint32_t>& codes, uint64_t columns, int bits, int unit_bits) {
  std::vector<bool> stream;
  for (size_t i = 0; i < codes.size(); ++i) {
    for (int bit = 0; bit < bits; ++bit) stream.push_back((codes[i] >> bit & 1) != 0);
    const bool ends_row = (i + 1) % columns == 0;
    if (ends_row) stream.resize((i + 1) / columns * RowBits(columns, bits, unit_bits));
  }
  Bytes bytes(stream.size() / 8);
  for (size_t i = 0; i < stream.size(); ++i) {
    if (stream[i]) bytes[i / 8] |= std::byte{1} << i % 8;
  }
  return bytes;
}

std::vector<uint32_t> UnpackRows(const Bytes& bytes, uint64_t rows, uint64_t columns, int bits, int unit_bits) {
  std::vector<uint32_t> codes;
  for (uint64_t row = 0; row < rows; ++row) {
    uint64_t position = row * RowBits(columns, bits, unit_bits);
    for (uint64_t column = 0; column < columns; ++column) {
      uint32_t code = 0;
      for (int bit = 0; bit < bits; ++bit, ++position) {
        const bool is_set = (bytes[position / 8] >> position % 8 & std::byte{1}) != std::byte{0};
        code |= static_cast<uint32_t>(is_set) << bit;
      }
      codes.push_back(code);
    }
  }
  return codes;
}

Bytes WordsTransposed(const Bytes& words, uint64_t rows) {
  constexpr int kWordBits = 32;
  const uint64_t count = words.size() / sizeof(uint32_t);
  if (count == 0) return {};
  const std::vector<uint32_t> matrix = UnpackRows(words, 1, count, kWordBits, kWordBits);
  return PackRows(Transposed(matrix, rows, count / rows), count, kWordBits, kWordBits);
}

Bytes PackCodes(const ReferenceTensor& tensor, std::vector<uint32_t> codes) {
  const std::string& element = tensor.options.element;
  uint64_t columns = RowByRow(tensor.options.grouping) ? tensor.columns : codes.size();
  const bool first_is_high = FirstIsHigh(element);
  if (first_is_high && columns % 2 == 1) {
    codes = RowsWithOneMore(codes, columns, EncodeElement(element, 0.0f, true));
    ++columns;
  }
  Bytes bytes = PackRows(codes, columns, BitsOf(element), 8);
  if (first_is_high) SwapHalves(bytes);
  return bytes;
}

std::vector<uint32_t> UnpackCodes(const ReferenceTensor& tensor, const Bytes& bytes) {
  const bool row_by_row = RowByRow(tensor.options.grouping);
  Bytes stream = bytes;
  if (FirstIsHigh(tensor.options.element)) SwapHalves(stream);
  return UnpackRows(stream, row_by_row ? tensor.rows : 1, row_by_row ? tensor.columns : tensor.size(),
                    BitsOf(tensor.options.element), 8);
}

}  // namespace quantd::testing

#include "kernels/cuda/fused_geometry.h"

#include <algorithm>
#include <bit>

namespace quantd {
namespace {

constexpr uint64_t kChunk = 16;
constexpr uint64_t kWarp = 32;
// Of a tensor that is decoded at once: each has up to four pieces, whose numbers have 32 bits.
constexpr uint64_t kChunksMax = (uint64_t{1} << 30) - 1;

// Runs that lie one after another, of their codes too.
bool IsFlat(const RunGeometry& runs, int code_bits) {
  if (runs.band_rows != 1) return false;
  if (runs.rows == 1) return true;
  return runs.row_elements % runs.run_elements == 0 &&
         runs.row_code_bytes * 8 == runs.row_elements * static_cast<uint64_t>(code_bits);
}

FusedGeometry OfCtas(const RunGeometry& rows) {
  const uint64_t row_chunks = rows.run_elements / kChunk;
  const uint64_t chunks = row_chunks * rows.band_rows;
  if (chunks > uint64_t{kLongRunThreadsMax} * kHeldChunks || rows.run_count() > kFusedRunsMax ||
      rows.rows * rows.row_elements / kChunk > UINT32_MAX) {
    return {};
  }
  // One row has no bits above its chunk's number.
  const bool one_row = rows.band_rows == 1;
  const uint64_t threads = (chunks + kHeldChunks - 1) / kHeldChunks;
  return {.runs = rows.run_count(),
          .elements = rows.rows * rows.row_elements,
          .threads = static_cast<uint32_t>((threads + kWarp - 1) / kWarp * kWarp),
          .tile = {.run_count = static_cast<uint32_t>(rows.run_count()),
                   .row_runs = static_cast<uint32_t>(rows.row_runs()),
                   .chunk_count = static_cast<uint32_t>(chunks),
                   .row_chunks_shift = one_row ? 31u : static_cast<uint32_t>(std::countr_zero(row_chunks)),
                   .row_chunks_mask = one_row ? 0x7fffffffu : static_cast<uint32_t>(row_chunks - 1)},
          .rows = rows};
}

}  // namespace

// The multiplier is ceil(2^32 · (2^shift - divisor) / divisor), the one less than 2^32 that rounds right for all
// numbers whose sum with the product's upper half fits into 32 bits.
Divisor::Divisor(uint32_t divisor_above_0)
    : divisor(divisor_above_0), shift(static_cast<uint32_t>(std::bit_width(divisor_above_0 - 1))) {
  const uint64_t power = uint64_t{1} << shift;
  multiplier = static_cast<uint32_t>(((power - divisor) << 32) / divisor + 1);
}

bool FusedGeometry::IsLike(const FusedGeometry& other) const {
  FusedGeometry counted_alike = other;
  counted_alike.tile.run_count = tile.run_count;
  counted_alike.rows.rows = rows.rows;
  return lanes == other.lanes && threads == other.threads && tile == counted_alike.tile && rows == counted_alike.rows;
}

bool CanNest(const FusedGeometry& geometry, Element element, uint64_t elements) {
  // A CTA of 256 threads has a nested block or more in two chunks of each.
  return (element == Element::kNf4 || element == Element::kFp4Bnb) && geometry.lanes >= 2 &&
         geometry.elements == elements;
}

FusedDecodeGeometry FusedDecodeGeometryOf(const RunGeometry& runs, int code_bits, bool has_scales) {
  const uint64_t elements = runs.rows * runs.row_elements;
  if (elements / kChunk == 0 || elements / kChunk > kChunksMax) return {};
  if (!has_scales) return {.elements = elements / kChunk * kChunk, .run_shift = 31};
  const bool flat = IsFlat(runs, code_bits);
  const bool whole_chunks =
      runs.run_elements % kChunk == 0 && (flat || runs.row_elements % kChunk == 0) &&
      (runs.rows == 1 || runs.row_code_bytes * 8 == runs.row_elements * static_cast<uint64_t>(code_bits));
  if (!whole_chunks) return {};
  const uint64_t run_chunks = runs.run_elements / kChunk;
  // All is in the first row of a flat tensor, however long it is.
  const uint64_t row_chunks = flat ? kChunksMax : runs.row_elements / kChunk;
  return {.elements = elements / kChunk * kChunk,
          .run_shift = flat && std::has_single_bit(run_chunks) ? static_cast<uint32_t>(std::countr_zero(run_chunks))
                                                               : FusedDecodeGeometry::kNoShift,
          .run_chunks = Divisor(static_cast<uint32_t>(run_chunks)),
          .row_chunks = Divisor(static_cast<uint32_t>(std::max<uint64_t>(row_chunks, 1))),
          .row_runs = Divisor(static_cast<uint32_t>(flat && runs.rows == 1 ? kChunksMax : runs.row_runs())),
          .band_rows = Divisor(static_cast<uint32_t>(runs.band_rows))};
}

FusedGeometry FusedGeometryOf(const RunGeometry& runs, int code_bits, bool has_scales) {
  if (runs.rows == 0 || runs.row_elements == 0) return {};
  if (IsFlat(runs, code_bits)) {
    const uint64_t elements = runs.rows * runs.row_elements;
    const uint64_t run_elements = has_scales ? runs.run_elements : kChunk;
    if (run_elements % kChunk != 0) return {};
    const uint64_t count = elements / run_elements;
    const uint64_t lanes = run_elements / kChunk;
    if (count * lanes > kFusedRunsMax * 2) return {};
    if (lanes <= kWarp && std::has_single_bit(lanes))
      return {.runs = count, .elements = count * run_elements, .lanes = static_cast<uint32_t>(lanes)};
    return OfCtas({.rows = count,
                   .row_elements = run_elements,
                   .run_elements = run_elements,
                   .band_rows = 1,
                   .row_code_bytes = 0});
  }
  const bool whole_chunks = runs.row_elements % kChunk == 0 && runs.run_elements % kChunk == 0 &&
                            runs.row_code_bytes * 8 == runs.row_elements * static_cast<uint64_t>(code_bits);
  if (!has_scales || !whole_chunks || !std::has_single_bit(runs.run_elements)) return {};
  return OfCtas(runs);
}

bool CanShareLaunch(const DeviceFusedJob& one, const DeviceFusedJob& other, int code_bits) {
  const bool has_scales = one.rules.method != ScaleMethod::kNone;
  return one.rules == other.rules &&
         FusedGeometryOf(one.runs, code_bits, has_scales).IsLike(FusedGeometryOf(other.runs, code_bits, has_scales));
}

bool CanShareLaunch(const DeviceFusedDecodeJob& one, const DeviceFusedDecodeJob& other, int code_bits) {
  if (one.rules != other.rules) return false;
  const bool has_scales = one.rules.method != ScaleMethod::kNone;
  FusedDecodeGeometry of_one = FusedDecodeGeometryOf(one.runs, code_bits, has_scales);
  const FusedDecodeGeometry of_other = FusedDecodeGeometryOf(other.runs, code_bits, has_scales);
  of_one.elements = of_other.elements;
  return of_one == of_other;
}

}  // namespace quantd

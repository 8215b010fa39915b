// How launches are cut into CTAs on a device, as a value.
#pragma once

#include <algorithm>
#include <cstdint>

namespace quantd {

struct LaunchPolicy {
  uint32_t multiprocessors;
  // Of a multiprocessor, of CTAs that make a table before they begin, and stay for many turns.
  uint32_t table_threads;
  // From so many chunks on a CTA fetches a second turn while it works on the first; of fewer there are not enough CTAs
  // to keep all multiprocessors busy.
  uint64_t two_turns_chunks;
  // Of shared memory that nobody uses, for each of many CTAs that decode to 32-bit values: it limits how many of them a
  // multiprocessor has, because more write to more places of memory at once and are slower.
  uint32_t wide_decode_bytes;

  bool operator==(const LaunchPolicy&) const = default;
};

// Of compute capability `major`.`minor`. Measured on 9.0, of which others are a share.
constexpr LaunchPolicy LaunchPolicyFor(int major, int minor, uint32_t multiprocessors) {
  const bool has_fewer_threads = (major == 8 && minor != 0) || major == 12;  // 1536 instead of 2048 at most
  return {.multiprocessors = multiprocessors,
          .table_threads = has_fewer_threads ? 1024u : 1536u,
          .two_turns_chunks = uint64_t{1 << 16} * multiprocessors,
          .wide_decode_bytes = major == 9 ? 44u << 10 : 0u};  // five CTAs of 256 threads
}

// Turns of each CTA, where `turns` of `ctas_max` on a multiprocessor have to be shared: those that leave the fewest
// turns to the multiprocessor that has most.
constexpr uint64_t BalancedTurns(uint64_t turns, uint64_t ctas_max, uint64_t multiprocessors) {
  const auto ceiling = [](uint64_t number, uint64_t divisor) { return (number + divisor - 1) / divisor; };
  const uint64_t fewest = std::max<uint64_t>(ceiling(turns, ctas_max * multiprocessors), 1);
  uint64_t best = fewest;
  uint64_t best_most = UINT64_MAX;
  for (uint64_t each = fewest; each <= 2 * fewest; ++each) {
    const uint64_t most = ceiling(ceiling(turns, each), multiprocessors) * each;
    if (most >= best_most) continue;
    best = each;
    best_most = most;
  }
  return best;
}

}  // namespace quantd

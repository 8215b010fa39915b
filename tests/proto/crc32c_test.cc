#include "kernels/base/crc32c.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/crc32c_path.h"

namespace quantd {
namespace {

using Bytes = std::vector<std::byte>;

// The definition: one bit at a time.
uint32_t BitwiseCrc32c(std::span<const std::byte> bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (std::byte byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78 : 0);
  }
  return ~crc;
}

Bytes RandomBytes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

std::vector<const Crc32cPath*> AllPaths() {
  std::vector<const Crc32cPath*> paths = {&SoftwareCrc32c()};
  if (HardwareCrc32c() != nullptr) paths.push_back(HardwareCrc32c());
  if (WideCrc32c() != nullptr) paths.push_back(WideCrc32c());
  return paths;
}

// Around every lane boundary of the hardware path, every step of the wide one, and many steps beyond.
constexpr size_t kLongLengths[] = {255,  256,  257,  511,  512,  513,  575,   576,     577,           4079,
                                   4080, 4081, 4087, 4088, 8160, 8161, 12431, 1 << 16, (1 << 20) + 13};

TEST(Crc32c, AgreesWithTheVectorsOfRfc3720) {
  Bytes zeros(32), ones(32, std::byte{0xFF}), rising(32), falling(32);
  for (size_t i = 0; i < 32; ++i) {
    rising[i] = static_cast<std::byte>(i);
    falling[i] = static_cast<std::byte>(31 - i);
  }
  EXPECT_EQ(ExtendCrc32c(0, zeros), 0x8A9136AAu);
  EXPECT_EQ(ExtendCrc32c(0, ones), 0x62A8AB43u);
  EXPECT_EQ(ExtendCrc32c(0, rising), 0x46DD794Eu);
  EXPECT_EQ(ExtendCrc32c(0, falling), 0x113FDB5Cu);
}

TEST(Crc32c, OfTheUsualCheckString) {
  const std::string digits = "123456789";
  EXPECT_EQ(ExtendCrc32c(0, std::as_bytes(std::span(digits))), 0xE3069283u);
}

TEST(Crc32c, OfNothingIsWhatItExtends) {
  EXPECT_EQ(ExtendCrc32c(0, {}), 0u);
  EXPECT_EQ(ExtendCrc32c(0x12345678, {}), 0x12345678u);
}

TEST(Crc32c, EveryPathEqualsTheDefinitionAtEveryShortLengthAndAlignment) {
  const Bytes bytes = RandomBytes(640, 1);
  for (size_t length = 0; length <= 600; ++length) {
    for (size_t alignment = 0; alignment < 16; ++alignment) {
      const std::span<const std::byte> part = std::span(bytes).subspan(alignment, length);
      for (const Crc32cPath* path : AllPaths()) {
        ASSERT_EQ(path->extend(0, part.data(), part.size()), BitwiseCrc32c(part)) << length << " at " << alignment;
      }
    }
  }
}

TEST(Crc32c, EveryPathEqualsTheDefinitionAroundTheLaneBoundaries) {
  const Bytes bytes = RandomBytes((1 << 20) + 64, 2);
  for (size_t length : kLongLengths) {
    const std::span<const std::byte> part = std::span(bytes).subspan(3, length);
    for (const Crc32cPath* path : AllPaths()) {
      EXPECT_EQ(path->extend(0, part.data(), part.size()), BitwiseCrc32c(part)) << length;
    }
  }
}

TEST(Crc32c, CopyingCopiesAndTouchesNothingElse) {
  const Bytes bytes = RandomBytes((1 << 20) + 64, 3);
  std::vector<size_t> lengths(std::begin(kLongLengths), std::end(kLongLengths));
  for (size_t length = 0; length <= 200; ++length) lengths.push_back(length);
  for (size_t length : lengths) {
    const std::span<const std::byte> source = std::span(bytes).subspan(5, length);
    for (const Crc32cPath* path : AllPaths()) {
      Bytes target(length + 2, std::byte{0x5A});
      EXPECT_EQ(path->copy(77, target.data() + 1, source.data(), length), path->extend(77, source.data(), length));
      EXPECT_TRUE(std::equal(source.begin(), source.end(), target.begin() + 1)) << length;
      EXPECT_EQ(target.front(), std::byte{0x5A});
      EXPECT_EQ(target.back(), std::byte{0x5A});
    }
  }
}

TEST(Crc32c, CopyWithCrc32cIsTheBestPathsCopy) {
  const Bytes source = RandomBytes(10000, 4);
  Bytes target(source.size());
  EXPECT_EQ(CopyWithCrc32c(target.data(), source, 0), BitwiseCrc32c(source));
  EXPECT_EQ(target, source);
}

TEST(Crc32c, ExtendsAcrossEverySplit) {
  const Bytes bytes = RandomBytes(700, 5);
  const uint32_t whole = BitwiseCrc32c(bytes);
  for (size_t split = 0; split <= bytes.size(); ++split) {
    const auto [head, tail] = std::pair(std::span(bytes).first(split), std::span(bytes).subspan(split));
    for (const Crc32cPath* path : AllPaths()) {
      ASSERT_EQ(path->extend(path->extend(0, head.data(), head.size()), tail.data(), tail.size()), whole) << split;
    }
  }
}

TEST(CombineCrc32c, EqualsTheCrcOfTheWholeAtEverySplit) {
  const Bytes bytes = RandomBytes(700, 6);
  const uint32_t whole = ExtendCrc32c(0, bytes);
  for (size_t split = 0; split <= bytes.size(); ++split) {
    const uint32_t head = ExtendCrc32c(0, std::span(bytes).first(split));
    const uint32_t tail = ExtendCrc32c(0, std::span(bytes).subspan(split));
    ASSERT_EQ(CombineCrc32c(head, tail, bytes.size() - split), whole) << split;
  }
}

TEST(CombineCrc32c, IsAssociativeForTensorsThatNobodyCouldSend) {
  const uint64_t bytes_b = (uint64_t{1} << 40) - 3, bytes_c = (uint64_t{1} << 63) + 12345;
  const uint32_t a = 0xDEADBEEF, b = 0x01234567, c = 0x89ABCDEF;
  EXPECT_EQ(CombineCrc32c(CombineCrc32c(a, b, bytes_b), c, bytes_c),
            CombineCrc32c(a, CombineCrc32c(b, c, bytes_c), bytes_b + bytes_c));
}

}  // namespace
}  // namespace quantd

#include "kernels/calibrate/target_levels.h"

#include <algorithm>

#include "kernels/format/arithmetic.h"
#include "kernels/format/format_list.h"
#include "kernels/format/strict_scales.h"

namespace quantd {
namespace {

struct Rules {
  float lowest;
  float highest;
  bool ieee_overflow = false;
  bool unsigned_zero = false;
};

Rules RulesOf(Element element, bool symmetric) {
  const float largest = InfoOf(element).largest;
  return {symmetric ? -largest : -largest - 1, largest};
}

template <class Function, class... Formats>
void WithFormat(Element element, FormatList<Formats...>, const Function& function) {
  const auto call_if = [&]<class Format>(Format format) {
    if constexpr (Format::kKind == ElementKind::kInteger || Format::kKind == ElementKind::kMiniFloat) {
      if (Format::kElement == element) function(format);
    }
  };
  (call_if(Formats{}), ...);
}

}  // namespace

bool CanTarget(Element element, bool symmetric) {
  if (static_cast<size_t>(element) >= kFormats.size()) return false;
  const ElementKind kind = InfoOf(element).kind;
  return kind == ElementKind::kInteger || (kind == ElementKind::kMiniFloat && symmetric);
}

TargetScale ScaleFor(Element element, bool symmetric, float lowest, float highest) {
  const Rules rules = RulesOf(element, symmetric);
  const ScaleParameters parameters{
      .divisor = rules.highest, .lowest_code = rules.lowest, .highest_code = rules.highest};
  const RunRange run{.absmax = highest, .lowest = lowest, .highest = highest};
  const RunScale scale = symmetric ? StrictSymmetric<Float32Scale>::Make(run, parameters)
                                   : StrictAsymmetric<Float32Scale>::Make(run, parameters);
  return {scale.factor, scale.zero};
}

std::vector<double> LevelsOf(Element element, bool symmetric, const TargetScale& scale) {
  std::vector<double> levels;
  const Rules rules = RulesOf(element, symmetric);
  WithFormat(element, AllFormats{}, [&]<class Format>(Format) {
    for (uint32_t code = 0; code < 1u << Format::kBits; ++code) {
      const float level = Format::Decode(code);
      if (level >= rules.lowest && level <= rules.highest) {
        levels.push_back(Restored<Restore::kMultiply, Format>(code, scale.scale, scale.zero));
      }
    }
  });
  std::ranges::sort(levels);
  levels.erase(std::ranges::unique(levels).begin(), levels.end());
  return levels;
}

float FakeQuantized(Element element, bool symmetric, const TargetScale& scale, float value) {
  float restored = 0;
  const Rules rules = RulesOf(element, symmetric);
  WithFormat(element, AllFormats{}, [&]<class Format>(Format) {
    const float transformed = symmetric ? Transformed<Transform::kDivide>(value, scale.scale, scale.zero)
                                        : Transformed<Transform::kDivideAddZero>(value, scale.scale, scale.zero);
    restored =
        Restored<Restore::kMultiply, Format>(Encoded<Format>(transformed, value, rules), scale.scale, scale.zero);
  });
  return restored;
}

}  // namespace quantd

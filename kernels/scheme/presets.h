// The named points in the space of schemes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/scheme/scheme.h"

namespace quantd {

// What a preset says of one override.
struct Restriction {
  std::string_view field;
  std::vector<std::string> values;  // still possible; none: the preset has no such override
  std::string why;                  // may be empty
};

struct Preset {
  PresetInfo info;  // without overrides, which follow from the rest
  Scheme defaults;
  // Of the overrides that it names. All others have the default's value alone, or do not exist in the preset where the
  // default has no meaning.
  std::vector<Restriction> restrictions;
};

// The most used first. Lives as long as the program.
const std::vector<Preset>& AllPresetDefinitions();

}  // namespace quantd

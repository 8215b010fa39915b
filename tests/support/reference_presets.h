// What every preset resolves to, written from the specification.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace quantd::testing {

// Every override of the preset by name, `overrides` in place of its defaults. Throws std::out_of_range if there is no
// such preset.
std::map<std::string, std::string> ReferencePreset(const std::string& preset,
                                                   const std::map<std::string, std::string>& overrides = {});

std::vector<std::string> ReferencePresetNames();

}  // namespace quantd::testing

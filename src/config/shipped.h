// Where the files that come with graft lie: tasks/*.yaml and recipes/*.yaml.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace graft {

/// The folder `kind` ("tasks", "recipes") of the first place that has one: $GRAFT_HOME, ../share/graft beside the
/// running program (where installation puts it), the source tree it was built from. Throws NotFound that names the
/// places.
std::filesystem::path shipped_folder(const std::string& kind);

/// Names, without .yaml, of the files in shipped_folder(kind), sorted.
std::vector<std::string> shipped_names(const std::string& kind);

/// `path_or_name` itself if such a file exists, else the shipped file of that name. Throws NotFound with the nearest
/// name.
std::filesystem::path find_yaml(const std::string& kind, const std::string& path_or_name);

}  // namespace graft

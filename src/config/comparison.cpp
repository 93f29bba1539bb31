#include "config/comparison.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"
#include "config/shipped.h"

namespace graft {
namespace {

// A run folder is named after the variant.
void check_name(const std::string& name, const std::string& where) {
  const std::string allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_.";
  constexpr std::size_t kLongest = 64;
  if (!name.empty() && name.size() <= kLongest && name.front() != '.' &&
      name.find_first_not_of(allowed) == std::string::npos)
    return;
  fail(Category::InvalidArgument, where,
       "'{}' cannot name a variant: up to {} letters, digits and + - _ . that do not begin with a dot", name, kLongest);
}

std::vector<std::int64_t> read_shots(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::List || node.items.empty())
    fail(Category::InvalidArgument, node.where(), "'shots' must be a list of numbers, e.g. [4, 8, 16]");
  std::set<std::int64_t> shots;
  for (const auto& item : node.items) {
    shots.insert(yaml_integer(item, "shots"));
    if (*shots.begin() < 1) fail(Category::InvalidArgument, item.where(), "'shots' counts examples: from 1 on");
  }
  return {shots.begin(), shots.end()};
}

std::int64_t read_seeds(const YamlNode& node) {
  constexpr std::int64_t kMost = 1'000'000;
  const std::int64_t seeds = yaml_integer(node, "seeds");
  if (seeds < 1 || seeds > kMost)
    fail(Category::InvalidArgument, node.where(), "'seeds' counts the runs of each variant: from 1 to {}", kMost);
  return seeds;
}

}  // namespace

Comparison parse_comparison(std::string_view yaml, const std::string& file) {
  const YamlNode root = parse_yaml(yaml, file);
  YamlMap map(root, "the comparison");
  Comparison comparison;
  comparison.description = map.text("description", "");
  comparison.recipe = map.text("recipe", comparison.recipe);
  if (const YamlNode* shots = map.find("shots")) comparison.shots = read_shots(*shots);
  if (const YamlNode* seeds = map.find("seeds")) comparison.seeds = read_seeds(*seeds);
  const YamlNode& variants = map.at("variants");
  map.finish();
  if (variants.kind != YamlNode::Kind::Map || variants.keys.empty())
    fail(Category::InvalidArgument, variants.where(), "'variants' must be a map of names and settings");
  for (std::size_t i = 0; i < variants.keys.size(); ++i) {
    check_name(variants.keys[i], variants.items[i].where());
    with_settings(variants.items[i], {});
    comparison.variants.push_back({variants.keys[i], variants.items[i]});
  }
  return comparison;
}

Comparison load_comparison(const std::string& path_or_name) {
  const auto path = find_yaml("comparisons", path_or_name);
  return parse_comparison(read_file(path), path.string());
}

Comparison compare_methods(const std::vector<std::string>& methods) {
  std::string yaml = "variants:\n";
  for (const auto& method : methods) {
    if (std::count(methods.begin(), methods.end(), method) > 1)
      fail(Category::InvalidArgument, "--method", "'{}' is named twice", method);
    yaml += "  " + yaml_quoted(method) + ": {method: {name: " + yaml_quoted(method) + "}}\n";
  }
  return parse_comparison(yaml, "--method");
}

void keep_variants(Comparison& comparison, const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::vector<std::string> known;
  for (const auto& variant : comparison.variants) known.push_back(variant.name);
  std::vector<Variant> kept;
  for (const auto& name : names) {
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end())
      fail(Category::NotFound, "--variant", "the comparison has no variant '{}'{}", name, did_you_mean(name, known));
    kept.push_back(comparison.variants[static_cast<std::size_t>(found - known.begin())]);
  }
  comparison.variants = std::move(kept);
}

}  // namespace graft

// The page of `graft similarity`: what two LoRA adapters have in common, in one file that opens offline.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace graft {

/// Of all maps with one role: the mean over layers.
struct RoleSimilarity {
  std::string role;                       ///< "q"
  std::int64_t maps = 0;                  ///< that it is the mean of
  std::int64_t in = 0;                    ///< features, so that chance is known
  std::vector<std::vector<double>> grid;  ///< φ(i, j) [i - 1][j - 1], in 0…1
};

/// Of one map, as the page's table has it.
struct SiteSimilarity {
  std::string site;   ///< "decoder.3.q"
  double first = 0;   ///< φ(1, 1)
  double whole = 0;   ///< φ of all directions of both
  double chance = 0;  ///< what random spaces of these sizes have on average
};

struct SimilarityReport {
  std::string model;
  std::string first;   ///< the adapter of the rows
  std::string second;  ///< of the columns
  std::vector<RoleSimilarity> roles;
  std::vector<SiteSimilarity> sites;
  std::string version;  ///< of graft
};

/// The whole page: a heat map per role (Hu et al. 2021, figure 3) and every map in a table. Every text may be hostile.
std::string render_similarity(const SimilarityReport& report);

}  // namespace graft

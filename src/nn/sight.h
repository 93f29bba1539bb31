// Which keys a query of attention sees, told by bounds: a mask of a long text would be its length squared.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace graft {

/// A contiguous run of tokens of the planned order, or of a call's queries or keys.
struct TokenRange {
  std::int64_t begin = 0;
  std::int64_t length = 0;
};

/// The score of a key that is not seen.
inline constexpr float kUnseen = -std::numeric_limits<float>::infinity();

/// What some queries of a call that branches see of its keys: the way from the root to them.
struct AttentionPath {
  TokenRange queries;            ///< some of the call's, the first of which is 0
  std::vector<TokenRange> keys;  ///< of the call's, front to back; the last are the queries' own
};

/// Which of Tk keys, those of a cache first, each of Tq queries sees. Queries and keys are told by number; `paths`
/// cover the queries in their order.
struct Sight {
  bool ordered = false;              ///< the last keys are the queries' own, and none sees one behind its own
  std::int64_t window = 0;           ///< where ordered: the last keys of its way that a query sees, its own too; 0: all
  std::vector<AttentionPath> paths;  ///< where ordered and branching; empty: all keys are one way

  /// Whether all keys are seen by all queries, or a key by its own query and all behind it.
  bool plain() const { return paths.empty() && window == 0; }
  /// Keys among which are all that these queries, at least one, see. Nothing else is among them without paths and for
  /// one query.
  TokenRange seen_by(TokenRange some, std::int64_t queries, std::int64_t keys) const;
  /// Of scores that begin with key `first`, those become kUnseen that a query does not see between the ones it sees.
  void hide(std::int64_t query, std::int64_t queries, std::int64_t keys, std::int64_t first, float* scores) const;

 private:
  const AttentionPath& path_of(std::int64_t query) const;
  std::int64_t behind_window(std::int64_t query, std::int64_t queries, std::int64_t keys) const;
};

}  // namespace graft

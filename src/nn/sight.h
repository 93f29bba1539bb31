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

/// Keys one behind the other, at the same place of every way that they are on.
struct SeenKeys {
  TokenRange keys;
  std::int64_t until = 0;  ///< the first query behind those that see them
  std::int64_t way = 0;    ///< keys that are before them on their way
};

/// Which of Tk keys, those of a cache first, each of Tq queries sees. Queries and keys are told by number; `paths`
/// cover the queries in their order, depth first: a range of one is a range of the other or has no key in common with
/// its ranges, and the paths that a range is of follow each other. Keys before the queries' own are on all or none.
struct Sight {
  bool ordered = false;              ///< the last keys are the queries' own, and none sees one behind its own
  std::int64_t window = 0;           ///< where ordered: the last keys of its way that a query sees, its own too; 0: all
  std::vector<AttentionPath> paths;  ///< where ordered and branching; empty: all keys are one way

  /// Whether all keys are seen by all queries, or a key by its own query and all behind it.
  bool plain() const { return paths.empty() && window == 0; }
  /// Keys among which are all that these queries, at least one, see. Nothing else is among them without paths and for
  /// one query.
  TokenRange seen_by(TokenRange some, std::int64_t queries, std::int64_t keys) const;
  /// The keys that any of these queries, at least one, sees, front to back. Of them a query sees those whose `until` is
  /// behind it, but none behind its own and none that is a window or more before it on its way. The last are the
  /// queries' own where these are ordered; of one query there is nothing else.
  std::vector<SeenKeys> seen_together(TokenRange some, std::int64_t queries, std::int64_t keys) const;

 private:
  std::vector<AttentionPath>::const_iterator path_of(std::int64_t query) const;
  std::int64_t behind_window(std::int64_t query, std::int64_t queries, std::int64_t keys) const;
};

}  // namespace graft

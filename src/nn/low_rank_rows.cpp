#include "nn/low_rank_rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "nn/kernels/any_row.h"
#include "nn/kernels/tile_layout.h"
#include "nn/row_scale.h"

namespace graft {
namespace {

constexpr std::int64_t kMostRanks = 16;  // with more, products of matrices are faster

// Of one update: a [R, in] and bᵀ [R, out].
struct TurnedUpdate {
  const float* a_row(std::int64_t r) const { return a + r * in; }
  const float* b_row(std::int64_t r) const { return b + r * out; }

  const float *a = nullptr, *b = nullptr;
  std::int64_t ranks = 0, in = 0, out = 0;
  float scale = 1;
};

// Whether b [out, R] lies in memory as bᵀ does.
bool lies_turned(const at::Tensor& b) {
  return b.stride(0) == 1 && (b.size(1) == 1 || b.stride(1) == b.size(0));
}

// Several, turned by the threads: LibTorch's copies, one a slot and map, took longer than what they were made for.
class TurnedUpdates {
 public:
  explicit TurnedUpdates(const std::vector<LowRankUpdate>& updates) {
    std::int64_t room = 0;
    for (const auto& update : updates) room += lies_turned(update.b) ? 0 : update.b.numel();
    turned_ = rows::empty({room}, at::kFloat);
    float* next = turned_.data_ptr<float>();
    std::vector<Turn> turns;
    for (const auto& update : updates) {
      const std::int64_t ranks = update.a.size(0), out = update.b.size(0);
      const float *a = kept(update.a.contiguous()), *b = nullptr;
      if (lies_turned(update.b)) {
        b = kept(update.b);
      } else {
        turns.push_back({kept(update.b.contiguous()), out, ranks, next});
        b = next;
        next += update.b.numel();
      }
      updates_.push_back({a, b, ranks, update.a.size(1), out, static_cast<float>(update.scale)});
    }
    at::parallel_for(0, static_cast<std::int64_t>(turns.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Turn& turn = turns[static_cast<std::size_t>(i)];
        rows::turn(turn.from, turn.out, turn.ranks, turn.to);
      }
    });
  }

  const TurnedUpdate& operator[](std::size_t slot) const { return updates_[slot]; }
  std::size_t size() const { return updates_.size(); }
  std::int64_t most_ranks() const {
    std::int64_t ranks = 0;
    for (const auto& update : updates_) ranks = std::max(ranks, update.ranks);
    return ranks;
  }

 private:
  struct Turn {
    const float* from;
    std::int64_t out, ranks;
    float* to;
  };

  const float* kept(const at::Tensor& factor) {
    held_.push_back(factor);
    return factor.const_data_ptr<float>();
  }

  std::vector<at::Tensor> held_;
  at::Tensor turned_;
  std::vector<TurnedUpdate> updates_;
};

template <typename T>
rows::Table<T> rows_of_part(const at::Tensor& x, const TokenRange& tokens) {
  const std::int64_t width = x.size(1);
  return {static_cast<const T*>(x.const_data_ptr()) + tokens.begin * width, tokens.length, width, width};
}

template <typename Work>
void by_parts(const std::vector<SlotRun>& parts, const Work& work) {
  at::parallel_for(0, static_cast<std::int64_t>(parts.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) work(static_cast<std::size_t>(part));
  });
}

class RowSums {
 public:
  RowSums(const at::Tensor& y, const at::Tensor& x, const LowRankRuns& by)
      : y_(y.contiguous()),
        x_(x.contiguous()),
        updates_(by.updates),
        parts_(parts_of(by.runs)),
        result_(rows::empty(y.sizes(), y.scalar_type())) {
    inner_ = rows::empty({updates_.most_ranks(), x.size(0)}, at::kFloat);
  }

  LowRankResult made() {
    rows::by_type(y_, [&]<typename T>(T*) { by_parts(parts_, [&](std::size_t part) { compute<T>(parts_[part]); }); });
    return {result_, inner_};
  }

 private:
  template <typename T>
  void compute(const SlotRun& part) {
    const std::int64_t width = y_.size(1), first = part.tokens.begin, all = x_.size(0);
    const T* from = static_cast<const T*>(y_.const_data_ptr()) + first * width;
    T* to = static_cast<T*>(result_.data_ptr()) + first * width;
    if (part.slot < 0) {
      std::memcpy(to, from, static_cast<std::size_t>(part.tokens.length * width) * sizeof(T));
      return;
    }
    const TurnedUpdate& update = updates_[static_cast<std::size_t>(part.slot)];
    float* inner = inner_.data_ptr<float>() + first;
    rows::dots(update.a_row(0), update.ranks, rows_of_part<T>(x_, part.tokens), {inner, all});
    std::vector<float> row(static_cast<std::size_t>(width));
    for (std::int64_t n = 0; n < part.tokens.length; ++n, from += width, to += width) {
      rows::widen(from, row.data(), width);
      for (std::int64_t r = 0; r < update.ranks; ++r)
        rows::add_scaled(row.data(), update.scale * inner[r * all + n], update.b_row(r), width);
      rows::narrow(row.data(), to, width);
    }
  }

  at::Tensor y_, x_;
  TurnedUpdates updates_;
  std::vector<SlotRun> parts_;
  at::Tensor result_, inner_;
};

class RowGradients {
 public:
  RowGradients(const at::Tensor& above, const at::Tensor& x, const at::Tensor& inner, const LowRankRuns& by,
               const LowRankWishes& wishes)
      : above_(above.contiguous()),
        x_(x.contiguous()),
        inner_(inner),
        updates_(by.updates),
        wishes_(wishes),
        parts_(parts_of(by.runs)) {
    if (wishes.x) of_x_ = rows::empty(x.sizes(), x.scalar_type());
    const auto count = static_cast<std::int64_t>(parts_.size());
    of_a_ = at::zeros({count, inner.size(0), x.size(1)}, inner.options());
    of_b_ = at::zeros({count, inner.size(0), above.size(1)}, inner.options());
  }

  LowRankGradients made() {
    rows::by_type(x_, [&]<typename T>(T*) { by_parts(parts_, [&](std::size_t part) { compute<T>(part); }); });
    LowRankGradients gradients{of_x_, std::vector<at::Tensor>(wishes_.factors.size())};
    for (std::size_t slot = 0; slot < updates_.size(); ++slot) {
      if (wishes_.a(slot)) gradients.factors[2 * slot] = summed(of_a_, slot);
      if (wishes_.b(slot)) gradients.factors[2 * slot + 1] = summed(of_b_, slot).mul_(updates_[slot].scale).t();
    }
    return gradients;
  }

 private:
  // Over a slot's parts in their order.
  at::Tensor summed(const at::Tensor& of_parts, std::size_t slot) const {
    const std::int64_t ranks = updates_[slot].ranks;
    at::Tensor sum = at::zeros({ranks, of_parts.size(2)}, of_parts.options());
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      if (parts_[part].slot != static_cast<std::int32_t>(slot)) continue;
      const at::Tensor more = of_parts[static_cast<std::int64_t>(part)];
      rows::add_scaled(sum.data_ptr<float>(), 1.0F, more.const_data_ptr<float>(), sum.numel());
    }
    return sum;
  }

  template <typename T>
  void compute(std::size_t part) {
    const auto& [tokens, slot] = parts_[part];
    if (slot < 0) {
      if (wishes_.x) of_x_.narrow(0, tokens.begin, tokens.length).zero_();
      return;
    }
    const TurnedUpdate& update = updates_[static_cast<std::size_t>(slot)];
    const std::int64_t ranks = update.ranks, count = tokens.length, all = x_.size(0);
    const auto above = rows_of_part<T>(above_, tokens);
    const float* inner = inner_.const_data_ptr<float>() + tokens.begin;
    const auto place = static_cast<std::int64_t>(part) * inner_.size(0);
    if (wishes_.b(static_cast<std::size_t>(slot)))
      rows::add_weighted({inner, all}, ranks, above, of_b_.data_ptr<float>() + place * above_.size(1));
    if (!wishes_.x && !wishes_.a(static_cast<std::size_t>(slot))) return;
    std::vector<float> of_inner(static_cast<std::size_t>(ranks * count));
    rows::dots(update.b_row(0), ranks, above, {of_inner.data(), count});
    rows::scale(of_inner.data(), update.scale, ranks * count);
    if (wishes_.a(static_cast<std::size_t>(slot)))
      rows::add_weighted({of_inner.data(), count}, ranks, rows_of_part<T>(x_, tokens),
                         of_a_.data_ptr<float>() + place * x_.size(1));
    if (wishes_.x) write_x<T>(tokens, update, of_inner.data());
  }

  template <typename T>
  void write_x(const TokenRange& tokens, const TurnedUpdate& update, const float* of_inner) {
    const std::int64_t width = x_.size(1);
    T* to = static_cast<T*>(of_x_.data_ptr()) + tokens.begin * width;
    std::vector<float> row(static_cast<std::size_t>(width));
    for (std::int64_t n = 0; n < tokens.length; ++n, to += width) {
      std::fill(row.begin(), row.end(), 0.0F);
      for (std::int64_t r = 0; r < update.ranks; ++r)
        rows::add_scaled(row.data(), of_inner[r * tokens.length + n], update.a_row(r), width);
      rows::narrow(row.data(), to, width);
    }
  }

  at::Tensor above_, x_, inner_;
  TurnedUpdates updates_;
  const LowRankWishes& wishes_;
  std::vector<SlotRun> parts_;
  at::Tensor of_x_, of_a_, of_b_;
};

}  // namespace

bool LowRankWishes::any_a() const {
  for (std::size_t slot = 0; 2 * slot < factors.size(); ++slot) {
    if (a(slot)) return true;
  }
  return false;
}

bool goes_row_by_row(const at::Tensor& y, const at::Tensor& x, const LowRankRuns& by) {
  return rows::readable(y) && rows::readable(x) && y.scalar_type() == x.scalar_type() && y.dim() == 2 && x.dim() == 2 &&
         std::all_of(by.updates.begin(), by.updates.end(), [](const LowRankUpdate& update) {
           return update.a.scalar_type() == at::kFloat && update.b.scalar_type() == at::kFloat &&
                  update.a.size(0) <= kMostRanks;
         });
}

LowRankResult sums_row_by_row(const at::Tensor& y, const at::Tensor& x, const LowRankRuns& by) {
  return RowSums(y, x, by).made();
}

LowRankGradients gradients_row_by_row(const at::Tensor& above, const at::Tensor& x, const at::Tensor& inner,
                                      const LowRankRuns& by, const LowRankWishes& wishes) {
  return RowGradients(above, x, inner, by, wishes).made();
}

}  // namespace graft

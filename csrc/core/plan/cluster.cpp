#include "core/plan/cluster.h"

#include <numeric>

namespace dcnn {

namespace {

double price(const Rectangle& outputs, const BlockCost& cost) { return cost.computing(outputs) + cost.storing(outputs); }

Rectangle around_all(const std::vector<Candidate>& windows, const std::vector<size_t>& group) {
  Rectangle found = windows[group[0]].outputs;
  for (const size_t i : group) found = around(found, windows[i].outputs);
  return found;
}

// Whether all windows form one group: a window adds at most whole - least to any part of the class, less than any costs or
// saves alone.
bool all_close(const std::vector<Candidate>& windows, const std::vector<double>& single, double whole) {
  const double least = *std::min_element(single.begin(), single.end());
  double limit = windows[0].saved;
  for (const Candidate& window : windows) limit = std::min(limit, window.saved);
  return whole - least < std::min(limit, least);
}

// Each window joins the group to which it adds least, or opens a new one where that is cheaper. single: each window's cost
// alone.
std::vector<std::vector<size_t>> greedy(const std::vector<Candidate>& windows, const std::vector<double>& single,
                                        const BlockCost& cost) {
  struct Group {
    Rectangle outputs;
    double price;
  };
  std::vector<Group> groups;
  std::vector<std::vector<size_t>> members;
  for (size_t i = 0; i < windows.size(); ++i) {
    size_t best = groups.size();
    double least = std::min(windows[i].saved, single[i]);
    Group joined{windows[i].outputs, single[i]};
    for (size_t g = 0; g < groups.size(); ++g) {
      if (common(groups[g].outputs, windows[i].outputs).empty()) continue;  // joining costs at least as much as a new group
      const Rectangle both = around(groups[g].outputs, windows[i].outputs);
      const double after = price(both, cost), added = after - groups[g].price;
      if (added < least) {
        best = g;
        least = added;
        joined = {both, after};
      }
    }
    if (best == groups.size()) {
      groups.push_back(joined);
      members.emplace_back();
    }
    groups[best] = joined;
    members[best].push_back(i);
  }
  return members;
}

// Whether a group costs less than its windows separately. Its results are stored once for each pool phase that a window may
// need.
bool pays(const std::vector<Candidate>& windows, const std::vector<size_t>& group, const BlockCost& cost) {
  if (group.size() < 2) return false;
  const Rectangle outputs = around_all(windows, group);
  const int64_t phases = std::min(static_cast<int64_t>(group.size()), cost.axis.pool_stride * cost.axis.pool_stride);
  double saved = 0.0;
  for (const size_t i : group) saved += windows[i].saved;
  return cost.computing(outputs) + cost.storing(outputs) * static_cast<double>(phases) < saved;
}

}  // namespace

std::vector<std::vector<size_t>> groups_of(const std::vector<Candidate>& windows, const BlockCost& cost) {
  if (windows.size() < 2) return {};
  std::vector<size_t> all(windows.size());
  std::iota(all.begin(), all.end(), size_t{0});
  std::vector<double> single;
  single.reserve(windows.size());
  for (const Candidate& window : windows) single.push_back(price(window.outputs, cost));
  const bool one = all_close(windows, single, price(around_all(windows, all), cost));
  std::vector<std::vector<size_t>> paying;
  for (std::vector<size_t>& group : one ? std::vector<std::vector<size_t>>{all} : greedy(windows, single, cost)) {
    if (pays(windows, group, cost)) paying.push_back(std::move(group));
  }
  return paying;
}

}  // namespace dcnn

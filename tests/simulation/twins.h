// Which frames must be copies of others: what open.dedupe promises, once more. Told of each frame as it comes, and then
// of what became of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "policy/copies.h"

namespace fairlead::simulation {

class Twins {
 public:
  // Absent: there are no copies.
  explicit Twins(const std::optional<Dedupe>& dedupe) : dedupe_(dedupe) {}

  // Another owner's.
  void Replace(const std::optional<Dedupe>& dedupe);
  // A transport is there.
  void Joined(uint64_t generation);
  // A transport, or the dial of one, is over.
  void Ended(SteadyTime now);

  enum class Verdict { kFirst, kCopy, kEither };
  // What must become of a frame. `other`: the transport that is there besides; zero: none is. `together`: it is, or is
  // being dialled.
  Verdict Come(uint64_t generation, uint64_t other, std::string_view payload, bool together, SteadyTime now);
  // What became of the one that came last.
  void Became(bool copy);

  bool on() const { return dedupe_.has_value(); }
  // Since a transport joined: of these two, copies of what the other had brought.
  uint64_t met() const { return met_; }
  // Whether the frame has a key, and which.
  std::optional<std::string> KeyOf(std::string_view payload) const;

 private:
  struct Known {
    SteadyTime seen;
    uint64_t passed = 0;
    bool unsure = false;
    std::set<uint64_t> by = {};                 // Generations that brought it themselves.
    std::map<uint64_t, uint64_t> brought = {};  // By generation; a snapshot of what there was when it joined.
  };
  std::optional<Dedupe> dedupe_;
  std::map<std::string, Known> known_;
  std::optional<SteadyTime> until_;
  uint64_t met_ = 0;
  struct Last {
    Known* known = nullptr;
    bool of_other = false;
    uint64_t generation = 0;
  } last_;
};

}  // namespace fairlead::simulation

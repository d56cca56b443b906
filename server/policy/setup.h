// What a session does on each new transport before it is OPEN: keyed steps, in order. Holds the stored steps and the
// run over them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/frame.h"
#include "base/time.h"

namespace fairlead {

// Of fairlead.v1.SetupStep, which documents each.
struct SetupStep {
  std::string key;
  std::string payload;
  FrameKind kind = FrameKind::kText;
  Match expect = {};
  Match reject = {};
  Duration timeout = std::chrono::seconds(10);
  bool ask = false;  // The owner gives the payload, anew for each transport.
};

class Setup {
 public:
  explicit Setup(std::vector<SetupStep> steps) : steps_(std::move(steps)) {}

  // Change what the next transport gets; a run under way goes on with what it began with.
  void Replace(std::vector<SetupStep> steps) { steps_ = std::move(steps); }
  void Store(SetupStep step);  // In place of the step of the same key, or as the last.
  void Forget(std::string_view key);
  // Null: no step of this key.
  const SetupStep* Find(std::string_view key) const;

  std::vector<std::string> Keys() const;
  size_t size() const { return steps_.size(); }
  // Whether a transport cannot be set up without an owner who answers.
  bool Asks() const;
  // Payloads and matches together.
  size_t bytes() const;
  static size_t Bytes(const SetupStep& step);

  enum class Verdict {
    kSend,      // Write current(), and watch its timeout from now.
    kAsk,       // Ask the owner for the frame of current(), and watch its timeout from now.
    kWait,      // Nothing to do.
    kDone,      // All steps are complete.
    kRejected,  // current() was rejected by the exchange.
  };
  // A new transport: begins with the first step.
  Verdict Begin();
  // The owner gives the frame of the step with this key: true: write it as that step; false: it is not asked for, or
  // not any more.
  bool Answer(std::string_view key);
  // Whether current() waits for the owner.
  bool asking() const { return running() && current().ask && !answered_; }
  // The frame of the step with this key is written.
  Verdict Written(std::string_view key);
  // A frame came from the exchange. It may overtake the news that the step's own frame is written.
  Verdict Received(std::string_view payload);

  // The step of the run that is not complete yet. Only while a run goes on.
  const SetupStep& current() const { return run_[at_]; }
  bool running() const { return at_ < run_.size(); }

 private:
  Verdict Advance();
  Verdict Step();  // What current() begins with.

  std::vector<SetupStep> steps_;
  std::vector<SetupStep> run_;  // The steps of the run under way.
  size_t at_ = 0;
  bool answered_ = false;  // Of current(), if that asks.
};

}  // namespace fairlead

// A subscriber that reads a session into lines which a test can compare: "OPENING g1", "text hello", "7 WRITTEN".
// Checks what every subscriber may rely on: sequences without holes but for gaps, nothing after the end, and no entry
// that it was not woken for.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "session/session.h"
#include "session/subscription.h"

namespace fairlead {

inline std::string Describe(const StateChange& change) {
  std::string line(Name(change.state));
  if (change.state == State::kOpening || change.state == State::kOpen) line += " g" + std::to_string(change.generation);
  if (change.attempt != 0) line += " #" + std::to_string(change.attempt);
  const auto milliseconds = [](Duration span) {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(span).count()) + "ms";
  };
  if (change.retry_in) line += " in " + milliseconds(*change.retry_in);
  if (change.blind_from) line += " blind " + milliseconds(*change.blind_until - *change.blind_from);
  if (change.cause) line += ": " + std::string(Name(change.cause->reason));
  if (change.close_code != 0) line += " " + std::to_string(change.close_code) + " " + change.close_reason;
  if (change.overlap) {
    line += ", met " + std::to_string(change.overlap->frames) + "/" + std::to_string(change.overlap->copies) +
            (change.overlap->may_be_missing ? "?" : "");
  }
  return line;
}

inline std::string Describe(const CommandResult& result) {
  static constexpr const char* kOutcomes[] = {"?", "WRITTEN", "NOT_SENT", "UNKNOWN", "DONE"};
  std::string line = std::to_string(result.id) + " " + kOutcomes[static_cast<int>(result.outcome)];
  if (result.failure) line += " " + std::string(Name(result.failure->reason));
  return line;
}

inline std::string Describe(const LegChange& change, uint64_t generation) {
  std::string line = "leg " + std::string(Name(change.state)) + " g" + std::to_string(generation);
  if (change.retry_in) {
    line +=
        " in " + std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(*change.retry_in).count()) + "ms";
  }
  if (change.cause) line += ": " + std::string(Name(change.cause->reason));
  if (change.close_code != 0) line += " " + std::to_string(change.close_code) + " " + change.close_reason;
  if (change.received_frames != 0) {
    line += ", " + std::to_string(change.received_frames) + " frames, " + std::to_string(change.copies) + " copies";
  }
  return line;
}

inline std::string Describe(const Entry& entry) {
  if (const FrameEntry* frame = entry.frame())
    return (frame->kind == FrameKind::kText ? "text " : "binary ") + std::string(frame->payload);
  if (const auto* change = std::get_if<std::unique_ptr<StateChange>>(&entry.what)) return Describe(**change);
  if (const auto* topic = std::get_if<std::unique_ptr<TopicChange>>(&entry.what))
    return "topic " + (*topic)->key + ((*topic)->stale ? " stale" : " heard") + ((*topic)->last_heard ? "" : ", never");
  if (const auto* leg = std::get_if<std::unique_ptr<LegChange>>(&entry.what)) return Describe(**leg, entry.generation);
  return Describe(*std::get<std::unique_ptr<CommandResult>>(entry.what));
}

using Lines = std::vector<std::string>;

class Subscriber final : private Subscription::Listener {
 public:
  struct Options {
    bool owner = true;
    Start start = {};
    Overflow overflow = Overflow::kSkip;
  };
  Subscriber(std::shared_ptr<Session> session, const Options& options)
      : subscription_(std::make_unique<Subscription>(std::move(session), static_cast<Subscription::Listener&>(*this),
                                                     options.owner, options.start, options.overflow)) {
    next_ = subscription_->next_sequence();
    woken_ = true;  // The past does not wake.
  }
  explicit Subscriber(std::shared_ptr<Session> session) : Subscriber(std::move(session), Options{}) {}

  // What has come since the last call.
  Lines Read() {
    Lines lines = std::exchange(pongs_, {});
    const bool woken = std::exchange(woken_, false);
    for (;;) {
      if (const auto gap = subscription_->TakeGap()) {
        EXPECT_EQ(gap->from, next_);
        EXPECT_LE(gap->from, gap->to);
        lines.push_back("gap " + std::to_string(gap->from) + ".." + std::to_string(gap->to));
        missed += gap->to - gap->from + 1;
        next_ = gap->to + 1;
        continue;
      }
      const Entry* entry = subscription_->Peek();
      if (entry == nullptr) break;
      EXPECT_EQ(subscription_->next_sequence(), next_) << "a hole";
      lines.push_back(Describe(*entry));
      subscription_->Advance();
      ++next_;
    }
    if (const auto* end = subscription_->ended(); end != nullptr && !ended_) {
      ended_ = true;
      lines.push_back("ended: " + std::string(Name(end->cause.reason)) + (end->session_closed ? ", closed" : ""));
    }
    lines.insert(lines.end(), asked_.begin(), asked_.end());
    asked_.clear();
    EXPECT_TRUE(woken || lines.empty() || subscription_->held()) << "it was not woken for " << lines.front();
    return lines;
  }
  bool ended() const { return ended_; }
  bool woken() const { return woken_; }
  uint64_t next() const { return next_; }
  uint64_t missed = 0;  // Sequences that gaps covered.

  void Leave() { subscription_.reset(); }
  Subscription& subscription() { return *subscription_; }
  Session& session() { return *subscription_->session(); }

 private:
  void Waiting(Subscription& /*subscription*/, size_t /*entries*/, size_t /*bytes*/) override {
    EXPECT_FALSE(ended_) << "woken after its end";
    woken_ = true;
  }
  void Ponged(Subscription& /*subscription*/, std::string_view payload, Duration round_trip) override {
    woken_ = true;
    pongs_.push_back("pong " + std::string(payload) + " " +
                     std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(round_trip).count()) + "ms");
  }

  void Asked(Subscription& /*subscription*/, const Question& question) override {
    woken_ = true;
    asked_.push_back("asked " + (question.key.empty() ? "before dial" : question.key) + " g" +
                     std::to_string(question.generation) + " #" + std::to_string(question.number));
  }

  uint64_t next_ = 0;
  bool woken_ = false;
  bool ended_ = false;
  Lines pongs_;
  Lines asked_;  // Read after the entries: they may overtake those.
  std::unique_ptr<Subscription> subscription_;
};

}  // namespace fairlead

// The exchange's side of one transport: a kernel that takes writes byte by byte, a network that loses what is under way
// when the line breaks, and an exchange that answers or does not.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "policy/heartbeat.h"
#include "policy/setup.h"
#include "simulation/scene.h"
#include "support/scripted_dialler.h"

namespace fairlead::simulation {

class Life;
struct Command;

class Line {
 public:
  // The peer outlives it.
  Line(Scene& scene, Life& life, Peer& peer, uint64_t generation);

  bool live() const { return peer_.live(); }
  bool saying_goodbye() const { return live() && peer_.goodbye.has_value(); }
  bool writing() const { return live() && peer_.writing; }
  uint64_t generation() const { return generation_; }
  Life& life() const { return life_; }

  // ---- What the world does to it. ----
  // The exchange sends a frame, which is not read yet. `item`: its place in the stream that all transports get; zero:
  // it is of this one alone.
  void Say(std::string payload, uint64_t item = 0);
  void Read(size_t most, bool together);  // What has come is delivered, in order.
  void Take(size_t bytes);                // The kernel takes so much of the write under way.
  bool TakePart();                        // Less than what is left of it. False: there is no less.
  void Arrive(size_t most);               // What the kernel holds reaches the exchange, in order.
  void Flow();                            // All of it, as far as nothing is stuck.
  // It breaks: what has not been read is lost, and the last that the kernel held may be.
  void Drop();
  // The exchange ends it in good order: what it had sent is read. A code of zero: without a close frame.
  void Close(uint16_t code);
  // Answers the step that waits for it. False: none does, or the exchange has not heard of it.
  bool AnswerStep(bool reject);

  bool by_itself = true;  // The network moves and the exchange answers without being asked to.
  bool silent = false;    // The exchange says nothing any more.
  bool stalled = false;   // The kernel takes nothing any more.

  // ---- What is known of it. ----
  uint64_t frames = 0;             // Delivered.
  uint64_t frames_since_open = 0;  // Those since its setup was complete.
  uint64_t journaled = 0;          // So many of them.
  uint64_t copies = 0;             // And so many are not, since the owner's dedupe holds.
  std::optional<Loss> loss;        // The exchange, or the network, has ended it.
  bool begun = false;              // It is told, and its setup runs or is complete.
  bool was_retiring = false;       // Another has taken its place.
  bool ready = false;              // It is told to be set up.
  SteadyTime ready_at;
  HeartbeatPolicy heartbeat;
  std::optional<SteadyTime> age_due;  // When it is as old as it may become.
  std::deque<const Command*> owed;    // What changed the setup elsewhere meanwhile, and is to be written here, too.
  std::set<const Command*> given;     // Of what changes the setup elsewhere.
  std::set<uint64_t> items;           // Of the stream, that it has been given.
  bool whole = true;                  // It has been given all of the stream, since it is there.
  bool HasUndelivered(const std::set<uint64_t>& elsewhere) const;  // Of the stream, that the other has not.
  std::vector<SetupStep> steps;                                    // What was remembered when it began.
  size_t step = 0;                                                 // That is not complete yet.
  size_t steps_begun = 0;                                          // To be written.
  bool rejected = false;
  SteadyTime step_since;
  SteadyTime dialled_at;
  SteadyTime adopted_at;  // When its heartbeat's policy began to hold.
  SteadyTime last_data;
  WallTime last_heard;
  SteadyTime progress_at;  // Of the write under way.
  SteadyTime last_beat;
  std::optional<SteadyTime> unanswered_since;
  uint64_t last_number = 0;  // Of the commands written.
  std::optional<SteadyTime> goodbye_at;
  Place goodbye_place = Place::kOpen;
  bool might_lag = false;  // When goodbye was said.

 private:
  struct Written {
    enum class What { kHeartbeat, kStep, kOther } what;
    bool ping = false;
    std::string payload;
    Command* command = nullptr;
    size_t step = 0;
  };
  struct Coming {
    bool pong = false;
    std::string payload;
    uint64_t item = 0;
  };
  void Begun(const Peer::Write& write);
  void Goodbye();
  void Taken();
  void Heard(const Written& written);
  void Deliver(const Coming& coming);
  bool setting_up() const;
  void StepDone();

  Scene& scene_;
  Life& life_;
  Peer& peer_;
  uint64_t generation_;
  std::optional<Written> under_way_;
  size_t given_ = 0;  // Bytes of it.
  std::deque<Written> in_kernel_;
  std::deque<Coming> coming_;
  std::unique_ptr<Timer> goodbye_timer_;
};

}  // namespace fairlead::simulation

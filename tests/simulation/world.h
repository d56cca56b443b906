// One run: a registry on virtual time, the exchange, the adapters, and what happens to them, all from one seed.
#pragma once

#include <memory>
#include <vector>

#include "session/registry.h"
#include "simulation/adapter.h"
#include "simulation/life.h"
#include "simulation/line.h"
#include "simulation/scene.h"
#include "support/scripted_dialler.h"

namespace fairlead::simulation {

class World {
 public:
  World(Draws& draws, Table& table, bool trace);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  static constexpr int kEvents = 400;
  // So many events, then the end, one way or another. What was wrong; empty: nothing.
  std::string Run();
  uint64_t fingerprint() const { return scene_.fingerprint; }

 private:
  // Each does one thing that can happen now; false: it cannot.
  struct Event {
    unsigned weight;
    bool (World::*happen)();
  };
  static const std::vector<Event>& Events();
  static bool Ends(bool (World::*happen)());
  bool Happen();

  // What goes well, in world.cc.
  bool Accept();
  bool AcceptSecond();
  bool Say();
  bool Move();
  bool AnswerStep();
  bool Send();
  bool Ping();
  bool ReadOne();
  bool ReadAll();
  bool Join();
  bool Pass();
  bool PassToNext();
  bool PassLong();
  bool Recover();

  // What does not, in faults.cc.
  bool Drop();
  bool CloseFrame();
  bool GoingAway();
  bool Announce();
  bool Lag();
  bool HalfClose();
  bool Silence();
  bool Stall();
  bool PartialWrite();
  bool RejectStep();
  bool RefuseDial();
  bool Hang();
  bool RefuseForNow();
  bool Forbid();
  bool Leave();
  bool LeaveAll();
  bool Open();
  bool Close();
  bool Reconnect();
  bool ReconnectBeside();
  bool ReconnectAs(bool beside);
  bool Hold();
  bool Flood();
  std::string StreamPayload(const Life& life, uint64_t generation) const;
  void SayToAll(const Life& life);
  void TookOf(const Line& line, Fault fault, const char* what);
  void Finish();
  void Judge();

  void Advance(Duration span);
  void Observe();
  void WatchDials();
  void Refuse(const Loss& loss, Fault fault);
  Line* AnyLine(bool writing = false);
  Line* LineAmid();
  Adapter* AnyAdapter();
  Adapter* Owner();
  Life* Current();   // That has the name.
  Life* Dialling();  // Of the dial under way.
  Command& Issue(Adapter& owner, Command command);
  void SendOne(Adapter& owner, SendCommand send, bool has_id);
  Start RandomStart();
  void DropEnded();
  void Depart(Adapter& adapter);
  void Took(Place place, Fault fault, const char* what);

  VirtualTime time_;
  Limits limits_;
  Scene scene_;
  Draws& draws_;
  ScriptedDialler dialler_{time_};
  uint64_t epochs_ = 0;
  fairlead::Current<Access> access_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Timer> dial_timer_;
  size_t dials_seen_ = 0;
  bool hung_ = false;  // The dial under way is never answered.

  struct {
    uint64_t item = 0;  // Zero: nothing yet.
    std::string payload;
  } stream_;  // The latest of what the exchange sends on all transports.
  std::vector<std::unique_ptr<Line>> lines_;
  std::vector<std::unique_ptr<Life>> lives_;
  std::vector<std::unique_ptr<Adapter>> adapters_;
  struct Position {
    std::string epoch;
    uint64_t sequence = 0;
  };
  std::vector<Position> positions_;  // Where adapters that have left had got to.
  uint64_t numbers_ = 0;             // Of adapters.
  uint64_t commands_ = 0;
  bool calm_ = false;
  bool draining_ = false;
  bool drained_ = false;
};

// Of an Open, drawn; those of one run agree.
SessionOptions RandomOptions(Scene& scene);
Limits RandomLimits(Draws& draws);

}  // namespace fairlead::simulation

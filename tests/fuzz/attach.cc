// An Attach stream: whatever commands come, readable or not, and whatever the exchange does meanwhile, each command
// with an id gets exactly one result, and channels keep their promises (RecordedStream checks those).
#include <google/protobuf/stubs/logging.h>

#include <map>
#include <memory>

#include "fuzz/fuzz.h"
#include "rpc/channels.h"
#include "support/recorded_stream.h"
#include "support/testbed.h"

namespace fairlead {
namespace {

constexpr int kMostSteps = 64;

struct Attached : Testbed {
  Attached() {
    limits.sessions = 8;
    limits.channels_per_stream = 8;
    limits.journal_bytes = 1 << 20;
    limits.message_bytes = 256 << 10;
    limits.waiting_events = 16;
    channels = std::make_unique<Channels>("dev", registry, access, time, limits, Flush::Batch{}, stream);
    stream.wrote = [this] { channels->Wrote(); };
  }

  void Execute(const std::string& bytes) {
    v1::AttachRequest request;
    if (!request.ParseFromString(bytes)) return;
    for (const v1::Command& command : request.commands()) {
      ++sent[command.id()];
      // Readers see the owner's results as well, and what is held, detached or no longer kept is not delivered.
      told_once = told_once && !command.has_join() && !command.has_hold() && !command.has_detach() &&
                  !command.open().has_retention();
    }
    channels->Execute(request);
  }

  RecordedStream stream{time};
  std::unique_ptr<Channels> channels;
  std::map<uint64_t, int> sent;
  bool told_once = true;
};

void Step(Attached& a, FuzzInput& input) {
  const auto peer = [&a]() -> Peer* { return a.dialler.peers.empty() ? nullptr : &a.dialler.peer(); };
  switch (input.Byte() % 8) {
    case 0:
    case 1: {
      const size_t high = input.Byte();
      std::string request = input.Text();
      for (size_t i = 0; i < high % 8; ++i) request += input.Text();
      return a.Execute(request);
    }
    case 2:
      if (a.dialler.under_way() > 0) a.dialler.Accept();
      return;
    case 3:
      if (a.dialler.under_way() > 0) a.dialler.Refuse(Lost(Reason::kConnectFailed));
      return;
    case 4:
      if (peer() != nullptr) peer()->Text(input.Text());
      return;
    case 5:
      if (peer() != nullptr) peer()->End();
      return;
    case 6:
      a.time.Advance(std::chrono::milliseconds(input.Byte()) * 10);
      return;
    default:
      if (peer() != nullptr) peer()->takes_writes = input.Byte() % 2 == 0;
      return;
  }
}

}  // namespace
}  // namespace fairlead

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace fairlead;
  // What the support classes expect ends the process here, too.
  GTEST_FLAG_SET(throw_on_failure, true);
  google::protobuf::SetLogHandler(nullptr);  // It complains of each unreadable string.
  FuzzInput input(bytes, size);
  Attached a;
  for (int i = 0; i < kMostSteps && !input.empty(); ++i) {
    Step(a, input);
    a.time.Settle();
  }
  // The end: all sessions close, and every command that was read has its result.
  a.channels->HalfClosed();
  a.registry.Drain(a.time.Now() + std::chrono::seconds(5), [] {});
  for (const auto& peer : a.dialler.peers) {
    if (peer->live() && !peer->says_goodbye) peer->End();
    peer->Take();
  }
  a.time.Advance(std::chrono::seconds(30));
  for (const auto& [id, count] : a.sent) {
    if (id != 0 && a.told_once) FUZZ_CHECK(a.stream.results[id] == count);
  }
  return 0;
}

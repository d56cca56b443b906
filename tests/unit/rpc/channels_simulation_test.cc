// Random commands and frames on one Attach stream. RecordedStream checks each channel's beginning, sequences and end.
#include <map>
#include <set>

#include "rpc/channels.h"
#include "support/random.h"
#include "support/recorded_stream.h"
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;

class Simulation {
 public:
  explicit Simulation(Draws& draws) : draws_(draws) {
    bed_.limits.waiting_events = 10;
    bed_.dialler.prepare = [this](Peer& peer) { peer.pongs = draws_.OneIn(2); };
    channels_ = std::make_unique<Channels>(
        "dev", bed_.registry, bed_.access, bed_.time, bed_.limits,
        Flush::Batch{.frames = draws.Between(1, 40), .bytes = draws.Between(100, 5000)}, stream_);
    stream_.wrote = [this] { channels_->Wrote(); };
    stream_.takes_writes = draws.OneIn(2);
  }

  void Run() {
    for (int step = 0; step < 300; ++step) OneEvent();
    channels_->HalfClosed();
    // What has been read is still executed, and may open sessions.
    for (int i = 0; i < 10'000 && channels_->Full(); ++i) {
      stream_.Take();
      bed_.time.Advance(1ms);
    }
    for (uint64_t number = 1; number <= kNames; ++number) {
      if (const auto session = bed_.registry.Find("dev", Name(number)))
        session->Close({Reason::kClosed, Phase::kUnspecified, ""});
    }
    for (int i = 0; i < 10'000 && stream_.finished == 0; ++i) {
      stream_.Take();
      bed_.time.Advance(1s);
    }
    EXPECT_EQ(stream_.finished, 1);
    EXPECT_TRUE(stream_.idle()) << "every channel has ended, once";
    for (uint64_t id = 1; id <= last_id_; ++id) {
      // A channel that is detached takes the results that it has not read with it.
      EXPECT_LE(stream_.results[id], readers_of_[id]) << id;
      if (refused_or_done_.contains(id)) {
        EXPECT_EQ(stream_.results[id], 1) << id;
      }
    }
    EXPECT_EQ(bed_.registry.size(), 0u);
    channels_.reset();
    bed_.time.Settle();
    EXPECT_EQ(bed_.time.NextDue(), std::nullopt);
  }

 private:
  static constexpr uint64_t kNames = 3;
  static std::string Name(uint64_t number) { return "s" + std::to_string(number); }

  v1::Command& Add(v1::AttachRequest& request, bool journalled) {
    v1::Command& command = *request.add_commands();
    command.set_channel(static_cast<uint32_t>(draws_.Below(6)));
    if (draws_.OneIn(2)) {
      command.set_id(++last_id_);
      readers_of_[last_id_] = journalled ? 6 : 1;  // All channels may read the same session.
      if (!journalled) refused_or_done_.insert(last_id_);
    }
    return command;
  }

  void AddCommand(v1::AttachRequest& request) {
    switch (draws_.Below(12)) {
      case 0:
      case 1:
      case 2: {
        v1::Open& open = *Add(request, false).mutable_open();
        open.set_session(Name(draws_.Between(1, kNames)));
        open.mutable_target()->set_url("ws://h/");
        open.mutable_heartbeat()->mutable_interval();
        open.mutable_websocket()->set_max_message_bytes(300);
        open.mutable_retention()->set_journal_bytes(draws_.Between(364, 5000));
        open.mutable_delivery()->mutable_max_delay()->set_nanos(static_cast<int32_t>(draws_.Below(2'000'000)));
        break;
      }
      case 3:
      case 4: {
        v1::Join& join = *Add(request, false).mutable_join();
        join.set_session(Name(draws_.Between(1, kNames)));
        if (draws_.OneIn(2)) join.mutable_start()->mutable_oldest();
        if (draws_.OneIn(3)) join.mutable_delivery()->set_overflow(v1::OVERFLOW_DETACH);
        break;
      }
      case 5:
      case 6:
        Add(request, true).mutable_send()->set_payload(draws_.Text(100));
        break;
      case 7:
        Add(request, true).mutable_ping()->set_payload("p");
        break;
      case 8:
        Add(request, false).mutable_hold()->set_on(draws_.OneIn(2));
        break;
      case 9:
        if (draws_.OneIn(3)) Add(request, false).mutable_detach();
        break;
      case 10:
        if (draws_.OneIn(6)) Add(request, false).mutable_close();
        break;
      default:
        if (draws_.OneIn(3)) Add(request, true).mutable_reconnect();
    }
  }

  void OneEvent() {
    switch (draws_.Below(8)) {
      case 0:
      case 1: {
        v1::AttachRequest request;
        for (uint64_t i = draws_.Below(4); i > 0; --i) AddCommand(request);
        channels_->Execute(request);
        break;
      }
      case 2:
        if (bed_.dialler.under_way() > 0) bed_.dialler.Accept();
        break;
      case 3:
      case 4:
        for (uint64_t i = draws_.Below(20); i > 0; --i) {
          if (!bed_.dialler.peers.empty())
            bed_.dialler.peers[draws_.Below(bed_.dialler.peers.size())]->Text(draws_.Text(draws_.OneIn(5) ? 300 : 30));
        }
        break;
      case 5:
        if (!bed_.dialler.peers.empty() && draws_.OneIn(4)) bed_.dialler.peer().End();
        break;
      case 6:
        stream_.Take();
        break;
      default:
        bed_.time.Advance(std::chrono::microseconds(draws_.Below(draws_.OneIn(10) ? 1'000'000 : 1000)));
    }
  }

  Draws& draws_;
  Testbed bed_;
  RecordedStream stream_{bed_.time};
  std::unique_ptr<Channels> channels_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, int> readers_of_;
  std::set<uint64_t> refused_or_done_;
};

TEST(ChannelsSimulation, ThePromisesHoldWhateverHappens) {
  ForEachSeed(500, [](Draws& draws) { Simulation(draws).Run(); });
}

}  // namespace
}  // namespace fairlead

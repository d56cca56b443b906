#include "simulation/table.h"

#include <algorithm>
#include <cstdio>

namespace fairlead::simulation {
namespace {

constexpr std::string_view kPlaceNames[] = {"CONNECTING", "OPENING",        "OPEN",        "RECONNECTING", "lingering",
                                            "goodbye",    "CLOSED",         "2nd dialled", "2nd OPENING",  "2nd OPEN",
                                            "overlap",    "of 2nd OPENING", "of 2nd OPEN", "of retiring"};
static_assert(std::size(kPlaceNames) == kPlaces);

constexpr std::string_view kFaultNames[] = {"drop",
                                            "close frame",
                                            "close 1001, 1012",
                                            "half-close",
                                            "shutdown frame",
                                            "silence",
                                            "stalled write",
                                            "partial write",
                                            "idle timeout",
                                            "pong timeout",
                                            "write timeout",
                                            "max_age",
                                            "max_leg_lag",
                                            "no goodbye",
                                            "step rejected",
                                            "step timeout",
                                            "refused dial",
                                            "dial timeout",
                                            "refused, 429",
                                            "refused, 401",
                                            "subscriber leaves",
                                            "Join (resume)",
                                            "Open (take over)",
                                            "Close",
                                            "Reconnect",
                                            "Reconnect (beside)",
                                            "Hold",
                                            "overtaken by ring",
                                            "send queue full",
                                            "drain"};
static_assert(std::size(kFaultNames) == kFaults);

constexpr std::string_view kKindNames[] = {"one",          "rotates",      "rot. payload",
                                           "rot. pointer", "two, payload", "two, pointer"};
static_assert(std::size(kKindNames) == kKinds);

constexpr std::string_view kTurnNames[] = {"rotated, met",      "rotated, overdue",   "own lost, replaced",
                                           "own lost, in dial", "own lost, in setup", "2nd dial fails",
                                           "2nd lost in setup", "2nd lost OPEN",      "retired",
                                           "retiring lost",     "own lost, overlap",  "taken over with 2nd"};
static_assert(std::size(kTurnNames) == kTurns);

constexpr std::string_view kNoTransport = "there is no transport";
constexpr std::string_view kNoDial = "no dial is under way";
constexpr std::string_view kNoSetup = "no setup is under way";
constexpr std::string_view kNobody = "nobody is there to do it, or to meet it";
constexpr std::string_view kOwnTimeout = "a goodbye has its own timeout, and nothing else ends it";
constexpr std::string_view kNoGoodbye = "nobody has said goodbye";
constexpr std::string_view kRefusedBefore = "refused as NOT_OPEN, before anything is queued";
constexpr std::string_view kOfSession = "it befalls the session, not one of its transports";
constexpr std::string_view kOutOfAge = "its age is of no matter any more";
constexpr std::string_view kTwoOpen = "it takes two legs that are OPEN";

}  // namespace

std::string_view Name(Place place) { return kPlaceNames[static_cast<size_t>(place)]; }
std::string_view Name(Fault fault) { return kFaultNames[static_cast<size_t>(fault)]; }

std::string_view Impossible(Place place, Fault fault) {
  const bool beside = place == Place::kSecondOpening || place == Place::kSecondOpen || place == Place::kRetiring;
  const bool has_transport = place != Place::kConnecting && place != Place::kReconnecting && place != Place::kClosed;
  switch (fault) {
    case Fault::kDrop:
    case Fault::kCloseFrame:
    case Fault::kGoingAway:
    case Fault::kShutdown:
    case Fault::kHalfClose:
    case Fault::kSilence:
    case Fault::kStall:
    case Fault::kPartialWrite:
      return has_transport ? "" : kNoTransport;
    case Fault::kIdleTimeout:
    case Fault::kPongTimeout:
    case Fault::kWriteTimeout:
    case Fault::kMaxAge:
      if (!has_transport) return kNoTransport;
      if (fault == Fault::kMaxAge && place == Place::kRetiring) return kOutOfAge;
      return place == Place::kGoodbye ? kOwnTimeout : "";
    case Fault::kLegLags:
      return place == Place::kBesideOpen || place == Place::kSecondOpen ? "" : kTwoOpen;
    case Fault::kGoodbyeUnanswered:
      return place == Place::kGoodbye ? "" : kNoGoodbye;
    case Fault::kStepRejected:
    case Fault::kStepTimeout:
      return place == Place::kOpening || place == Place::kLingering || place == Place::kSecondOpening ? "" : kNoSetup;
    case Fault::kRefused:
    case Fault::kDialTimeout:
    case Fault::kRetryAfter:
    case Fault::kForbidden:
      return place == Place::kConnecting || place == Place::kLingering || place == Place::kBesideDial ? "" : kNoDial;
    case Fault::kQueueFull:
      if (place == Place::kClosed) return kRefusedBefore;
      [[fallthrough]];
    case Fault::kLeave:
    case Fault::kReconnect:
    case Fault::kReconnectBeside:
    case Fault::kHold:
    case Fault::kOvertaken:
      if (beside) return kOfSession;
      return place == Place::kLingering ? kNobody : "";
    case Fault::kJoin:
    case Fault::kOpen:
    case Fault::kClose:
    case Fault::kDrain:
      return beside ? kOfSession : "";
  }
  return "";
}

std::string Table::Text() const {
  std::vector<std::string_view> reasons;
  char cell[64];
  std::string text = std::string(20, ' ');
  for (size_t place = 0; place < kPlaces; ++place) {
    std::snprintf(cell, sizeof cell, "%15s", kPlaceNames[place].data());
    text += cell;
  }
  text += "\n";
  for (size_t fault = 0; fault < kFaults; ++fault) {
    std::snprintf(cell, sizeof cell, "%-20s", kFaultNames[fault].data());
    text += cell;
    for (size_t place = 0; place < kPlaces; ++place) {
      const std::string_view reason = Impossible(static_cast<Place>(place), static_cast<Fault>(fault));
      if (reason.empty()) {
        std::snprintf(cell, sizeof cell, "%15llu", static_cast<unsigned long long>(counts_[fault][place]));
      } else {
        auto known = std::ranges::find(reasons, reason);
        if (known == reasons.end()) known = reasons.insert(known, reason);
        std::snprintf(cell, sizeof cell, "%14s%c", "", static_cast<char>('a' + (known - reasons.begin())));
      }
      text += cell;
    }
    text += "\n";
  }
  text += "impossible:";
  for (size_t i = 0; i < reasons.size(); ++i) {
    text += i == 0 ? " " : "; ";
    text += static_cast<char>('a' + i);
    text += ": " + std::string(reasons[i]);
  }
  text += "\nwhat came of second transports:\n" + std::string(20, ' ');
  for (size_t kind = 0; kind < kKinds; ++kind) {
    std::snprintf(cell, sizeof cell, "%15s", kKindNames[kind].data());
    text += cell;
  }
  for (size_t turn = 0; turn < kTurns; ++turn) {
    std::snprintf(cell, sizeof cell, "\n%-20s", kTurnNames[turn].data());
    text += cell;
    for (size_t kind = 0; kind < kKinds; ++kind) {
      std::snprintf(cell, sizeof cell, "%15llu", static_cast<unsigned long long>(turns_[turn][kind]));
      text += cell;
    }
  }
  return text + "\n";
}

std::vector<std::string> Table::Complaints(uint64_t least) const {
  std::vector<std::string> complaints;
  for (size_t fault = 0; fault < kFaults; ++fault) {
    for (size_t place = 0; place < kPlaces; ++place) {
      const uint64_t count = counts_[fault][place];
      const std::string_view reason = Impossible(static_cast<Place>(place), static_cast<Fault>(fault));
      const std::string cell = std::string(kFaultNames[fault]) + " while " + std::string(kPlaceNames[place]);
      if (!reason.empty() && count > 0) {
        complaints.push_back(cell + ": reached, though \"" + std::string(reason) + "\"");
      } else if (reason.empty() && count < least) {
        complaints.push_back(cell + ": reached " + std::to_string(count) + " times, at least " + std::to_string(least) +
                             " are wanted");
      }
    }
  }
  for (size_t turn = 0; turn < kTurns; ++turn) {
    for (size_t kind = 0; kind < kKinds; ++kind) {
      if (turns_[turn][kind] >= least) continue;
      complaints.push_back(std::string(kTurnNames[turn]) + " of " + std::string(kKindNames[kind]) + ": " +
                           std::to_string(turns_[turn][kind]) + " times, at least " + std::to_string(least) +
                           " are wanted");
    }
  }
  return complaints;
}

}  // namespace fairlead::simulation

#include "exchange/feed.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "exchange/deflate.h"
#include "exchange/recording.h"

namespace exchange {
namespace {

void AppendNumber(std::string& out, uint64_t number) {
  char digits[20];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  out.append(digits, end);
}

// "17 xxxxxxxx" of `size` bytes, or the bare number when that is longer; with a stamp "17 1234567 xxxx".
void WriteNumbered(uint64_t number, std::optional<Clock::time_point> stamp, uint64_t size, std::string& out) {
  out.clear();
  AppendNumber(out, number);
  if (stamp) {
    out.push_back(' ');
    AppendNumber(out, static_cast<uint64_t>(std::chrono::nanoseconds(stamp->time_since_epoch()).count()));
  }
  if (out.size() < size) out.push_back(' ');
  if (out.size() < size) out.resize(size, 'x');
}

// SplitMix64: the n-th message of a seed can be made without the ones before it.
class Random {
 public:
  Random(uint64_t seed, uint64_t sequence) : state_(seed * 0xD1342543DE82EF95 + sequence * 0x9E3779B97F4A7C15) {}
  uint64_t Below(uint64_t bound) {
    uint64_t value = state_ += 0x9E3779B97F4A7C15;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9;
    value = (value ^ value >> 27) * 0x94D049BB133111EB;
    return (value ^ value >> 31) % bound;
  }

 private:
  uint64_t state_;
};

void AppendDecimal(std::string& out, uint64_t value, uint64_t scale) {
  AppendNumber(out, value / scale);
  out.push_back('.');
  std::string fraction;
  AppendNumber(fraction, scale + value % scale);
  out.append(fraction, 1);
}

// An order-book change of 120 to 400 bytes.
void WriteBook(uint64_t seed, uint64_t sequence, std::string& out) {
  static constexpr std::string_view kSymbols[] = {"BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD"};
  Random random(seed, sequence);
  out.assign(R"({"channel":"book","symbol":")");
  out.append(kSymbols[random.Below(std::size(kSymbols))]);
  out.append(R"(","sequence":)");
  AppendNumber(out, sequence);
  out.append(R"(,"time":)");
  AppendNumber(out, 1'700'000'000'000 + sequence);
  const auto middle = static_cast<uint64_t>(6'500'000 + 50'000 * std::sin(static_cast<double>(sequence) / 1000));
  for (const bool bids : {true, false}) {
    out.append(bids ? R"(,"bids":[)" : R"(,"asks":[)");
    const uint64_t levels = 1 + random.Below(6);
    uint64_t price = middle;
    for (uint64_t level = 0; level < levels; ++level) {
      const uint64_t step = 1 + random.Below(100);
      price = bids ? price - step : price + step;
      out.append(level == 0 ? "[\"" : ",[\"");
      AppendDecimal(out, price, 100);
      out.append("\",\"");
      AppendDecimal(out, random.Below(10'000'000), 1'000'000);
      out.append("\"]");
    }
    out.push_back(']');
  }
  out.push_back('}');
}

class FeedSource : public Source {
 public:
  FeedSource(std::shared_ptr<Feed> feed, const Plan& plan)
      : feed_(std::move(feed)),
        synthetic_(plan.feed == Plan::Feed::kSynthetic),
        stamp_(plan.stamp),
        seed_(plan.seed),
        size_(plan.size) {}

  Outcome Next(Clock::time_point now, Item& item, Clock::time_point& when) override {
    if (next_ == 0) {
      // The first connection starts the clock and gets number 1 at once; a later one gets what comes after now.
      next_ = feed_->started ? feed_->Head(now) + 1 : 1;
      if (!feed_->started) feed_->started = now;
    }
    if (feed_->count != 0 && next_ > feed_->count) return Outcome::kEnd;
    if (feed_->rate > 0 && next_ > feed_->Head(now)) {
      when = feed_->Due(next_);
      return Outcome::kLater;
    }
    if (synthetic_) {
      WriteBook(seed_, next_, text_);
    } else {
      std::optional<Clock::time_point> stamp;
      if (stamp_) stamp = feed_->rate > 0 ? feed_->Due(next_) : now;
      WriteNumbered(next_, stamp, size_, text_);
    }
    item = {.payload = text_, .number = next_};
    feed_->driven = std::max(feed_->driven, next_);
    ++next_;
    return Outcome::kItem;
  }

 private:
  const std::shared_ptr<Feed> feed_;
  const bool synthetic_;
  const bool stamp_;
  const uint64_t seed_;
  const uint64_t size_;
  uint64_t next_ = 0;  // 0 = not begun
  std::string text_;
};

// The same message `count` times.
class FixedSource : public Source {
 public:
  FixedSource(std::string payload, uint64_t count, Opcode opcode, bool compressed)
      : payload_(std::move(payload)), left_(count), opcode_(opcode), compressed_(compressed) {}

  Outcome Next(Clock::time_point, Item& item, Clock::time_point&) override {
    if (left_ == 0) return Outcome::kEnd;
    --left_;
    item = {.opcode = opcode_, .payload = payload_, .compressed = compressed_};
    return Outcome::kItem;
  }

 private:
  const std::string payload_;
  uint64_t left_;
  const Opcode opcode_;
  const bool compressed_;
};

// `size` bytes without framing: a frame that never ends.
class EndlessSource : public Source {
 public:
  explicit EndlessSource(uint64_t size) : left_(size) {}

  Outcome Next(Clock::time_point, Item& item, Clock::time_point&) override {
    if (left_ == 0) return Outcome::kEnd;
    item = {.payload = std::string_view(piece_).substr(0, std::min<uint64_t>(left_, piece_.size())), .unframed = true};
    left_ -= item.payload.size();
    return Outcome::kItem;
  }

 private:
  const std::string piece_ = std::string(64 << 10, 'x');
  uint64_t left_;
};

// Echo and idle: nothing of its own, and never at its end.
class QuietSource : public Source {
 public:
  Outcome Next(Clock::time_point, Item&, Clock::time_point& when) override {
    when = Clock::time_point::max();
    return Outcome::kLater;
  }
};

class RecordingSource : public Source {
 public:
  RecordingSource(std::shared_ptr<const Recording> recording, double speed, uint64_t count)
      : recording_(std::move(recording)), speed_(speed) {
    end_ = count == 0 ? recording_->size() : std::min<size_t>(count, recording_->size());
  }

  Outcome Next(Clock::time_point now, Item& item, Clock::time_point& when) override {
    if (at_ == end_) return Outcome::kEnd;
    if (!started_) started_ = now;
    const RecordedMessage& message = (*recording_)[at_];
    if (speed_ > 0) {
      const std::chrono::duration<double> due(message.at / speed_);
      when = *started_ + std::chrono::ceil<Clock::duration>(due);
      if (when > now) return Outcome::kLater;
    }
    item = {.opcode = message.opcode, .payload = message.payload};
    ++at_;
    return Outcome::kItem;
  }

 private:
  const std::shared_ptr<const Recording> recording_;
  const double speed_;
  size_t end_ = 0;
  size_t at_ = 0;
  std::optional<Clock::time_point> started_;
};

std::string Digits(uint64_t size) {
  std::string text(size, '0');
  for (uint64_t at = 0; at < size; ++at) text[at] = static_cast<char>('0' + at % 10);
  return text;
}

}  // namespace

uint64_t Feed::Head(Clock::time_point now) const {
  if (rate == 0 || !started) return driven;
  const double elapsed = std::chrono::duration<double>(now - *started).count();
  const auto bursts = static_cast<uint64_t>(elapsed * rate / static_cast<double>(burst)) + 1;
  const auto head = std::max(driven, bursts * burst);
  return count == 0 ? head : std::min(head, count);
}

Clock::time_point Feed::Due(uint64_t number) const {
  const uint64_t before = (number - 1) / burst * burst;
  const std::chrono::duration<double> due(static_cast<double>(before) / rate);
  return *started + std::chrono::ceil<Clock::duration>(due);
}

std::expected<std::unique_ptr<Source>, std::string> Feeds::Open(const Plan& plan) {
  switch (plan.feed) {
    case Plan::Feed::kEcho:
    case Plan::Feed::kIdle:
      return std::make_unique<QuietSource>();
    case Plan::Feed::kBig:
      return std::make_unique<FixedSource>(Digits(plan.size), plan.count, Opcode::kText, false);
    case Plan::Feed::kBomb:
      return std::make_unique<FixedSource>(CompressedZeros(plan.size), plan.count, Opcode::kBinary, true);
    case Plan::Feed::kEndless:
      return std::make_unique<EndlessSource>(plan.size);
    case Plan::Feed::kRecording: {
      auto& recording = recordings_[plan.recording];
      if (!recording) {
        auto loaded = LoadRecording(recordings_directory_, plan.recording);
        if (!loaded) return std::unexpected(loaded.error());
        recording = std::make_shared<const Recording>(std::move(*loaded));
      }
      return std::make_unique<RecordingSource>(recording, plan.speed, plan.count);
    }
    case Plan::Feed::kNumbered:
    case Plan::Feed::kSynthetic:
      break;
  }
  const bool own = plan.feed_name.empty();
  std::string name = plan.feed == Plan::Feed::kSynthetic ? "synthetic/" + std::to_string(plan.seed) + "/" : "numbered/";
  name += plan.feed_name;
  std::shared_ptr<Feed> feed;
  if (const auto found = feeds_.find(name); !own && found != feeds_.end()) {
    feed = found->second;
    if (feed->rate != plan.rate || feed->burst != plan.burst || feed->count != plan.count) {
      return std::unexpected("feed " + name + " exists with another rate, burst or count");
    }
  } else {
    feed = std::make_shared<Feed>(Feed{.name = name, .rate = plan.rate, .burst = plan.burst, .count = plan.count});
    if (!own) feeds_[name] = feed;
  }
  return std::make_unique<FeedSource>(std::move(feed), plan);
}

void Feeds::Forget() {
  std::erase_if(feeds_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

}  // namespace exchange

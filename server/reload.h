// The configuration while the gateway runs: read again on SIGHUP and when its file has changed, checked whole, and
// applied as far as it can be without a restart. What is wrong changes nothing.
#pragma once

#include <boost/asio/signal_set.hpp>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "config.h"
#include "net/loop.h"

namespace fairlead {

// Which of two files' fields differ, in the order of their names.
struct ConfigChanges {
  std::vector<std::string> applied;  // Of those that can change while the gateway runs.
  std::vector<std::string> waiting;  // Of the others.
};
ConfigChanges CompareFields(const std::map<std::string, std::string>& before,
                            const std::map<std::string, std::string>& after);

// Loop thread; a thread of its own looks at the file, and reads it.
class Reload {
 public:
  // What has been ended by it, for the log.
  struct Ended {
    size_t sessions = 0;
    size_t streams = 0;
  };
  // Takes over what can change: with the next configuration, and whether its egress rules or policies differ.
  using Apply = std::function<Ended(const Config& next, bool reach_changed)>;

  // `started`: what the gateway runs with.
  Reload(Loop& loop, std::string file, const Config& started, Apply apply);
  ~Reload();
  Reload(const Reload&) = delete;
  Reload& operator=(const Reload&) = delete;

 private:
  void AwaitSignal();
  void Watch(std::string text);
  void Take(const Config& next);

  Loop& loop_;
  const std::string file_;
  const Apply apply_;
  const std::map<std::string, std::string> started_;
  std::map<std::string, std::string> running_;
  boost::asio::signal_set hangups_;
  std::mutex mutex_;
  std::condition_variable woken_;
  bool asked_ = false;  // By SIGHUP.
  bool over_ = false;
  std::thread watching_;
};

}  // namespace fairlead

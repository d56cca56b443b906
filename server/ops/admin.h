// The admin port: what is served there, and where it comes from. docs/observability.md is for operators.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/admin_server.h"
#include "ops/loop_watch.h"
#include "ops/metrics.h"
#include "ops/shared_answer.h"
#include "ops/snapshot.h"
#include "ops/status_page.h"

namespace fairlead {

// Everything given to it outlives it. Destroyed when the loop has ended.
class Admin {
 public:
  struct Facts {
    std::string version;
    std::vector<std::string> certificate_files;  // Of listeners.
    // Asks whether adapters would be served now; told is called once, on any thread: why not, or empty.
    std::function<void(std::function<void(std::string why_not)> told)> check_serving;
  };

  Admin(std::unique_ptr<AdminServer> server, Timers& loop, const Shown& shown, Facts facts);
  ~Admin() { server_->Stop(); }
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  // Serves from now on. The loop may begin later.
  void Run();
  // Any thread. Not ready any more.
  void Drain() { draining_ = true; }
  std::string address() const { return server_->address(); }

 private:
  // The server's thread.
  AdminServer::Reply Health() const;
  void Ready(const AdminServer::Answer& answer);
  void CheckServing(const SharedAnswer::Tell& tell);
  void MakeMetrics(const SharedAnswer::Tell& tell);
  void MakeStatus(const SharedAnswer::Tell& tell);
  ProcessFacts Process() const;

  Timers& loop_;
  const Shown shown_;
  const Facts facts_;
  const WallTime started_;
  std::atomic<bool> draining_ = false;
  Histogram loop_lag_{ShortSpans()};  // The loop's.

  const std::unique_ptr<AdminServer> server_;
  LoopWatch watch_;
  SharedAnswer serving_;
  SharedAnswer metrics_;
  SharedAnswer status_;
};

}  // namespace fairlead

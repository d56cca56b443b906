#include "net/loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/network.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// Busy until then: the loop cannot run what is due meanwhile.
void OccupyUntil(const Loop& loop, SteadyTime time) {
  while (loop.Now() < time) {
  }
}

TEST(Loop, TimersRunInOrder) {
  LoopThread thread;
  std::vector<int> ran;
  std::promise<void> done;
  std::vector<std::unique_ptr<Timer>> timers;
  thread.Do([&] {
    const SteadyTime now = thread.loop().Now();
    for (const int milliseconds : {3, 1, 2, 0}) {
      timers.push_back(thread.loop().MakeTimer());
      timers.back()->At(now + std::chrono::milliseconds(milliseconds), [&, milliseconds] {
        ran.push_back(milliseconds);
        if (ran.size() == 4) done.set_value();
      });
      EXPECT_THAT(ran, IsEmpty()) << "from within the call";
    }
  });
  done.get_future().wait();
  thread.Do([&] { timers.clear(); });
  EXPECT_THAT(ran, ElementsAre(0, 1, 2, 3));
}

TEST(Loop, ATimerThatIsCancelledAfterItExpiredDoesNotRun) {
  LoopThread thread;
  bool ran = false;
  std::unique_ptr<Timer> timer;
  thread.Do([&] {
    timer = thread.loop().MakeTimer();
    const SteadyTime due = thread.loop().Now() + 1ms;
    timer->At(due, [&] { ran = true; });
    OccupyUntil(thread.loop(), due + 1ms);
    timer->Cancel();
  });
  thread.Settle();
  EXPECT_FALSE(ran);
  thread.Do([&] { timer.reset(); });
}

TEST(Loop, ATimerThatIsDestroyedAfterItExpiredDoesNotRun) {
  LoopThread thread;
  bool ran = false;
  thread.Do([&] {
    auto timer = thread.loop().MakeTimer();
    timer->At(thread.loop().Now(), [&] { ran = true; });
    OccupyUntil(thread.loop(), thread.loop().Now() + 1ms);
  });
  thread.Settle();
  EXPECT_FALSE(ran);
}

TEST(Loop, ANewDeadlineReplacesAnExpiredOne) {
  LoopThread thread;
  std::vector<int> ran;
  std::unique_ptr<Timer> timer;
  std::promise<void> done;
  thread.Do([&] {
    timer = thread.loop().MakeTimer();
    const SteadyTime due = thread.loop().Now();
    timer->At(due, [&] { ran.push_back(1); });
    OccupyUntil(thread.loop(), due + 1ms);
    timer->At(due + 5ms, [&] {
      ran.push_back(2);
      done.set_value();
    });
  });
  done.get_future().wait();
  thread.Settle();
  EXPECT_THAT(ran, ElementsAre(2));
  thread.Do([&] { timer.reset(); });
}

TEST(Loop, ATimerMayBeRearmedAndDestroyedFromWithinItsCallback) {
  LoopThread thread;
  int runs = 0;
  std::unique_ptr<Timer> timer;
  std::promise<void> done;
  std::function<void()> again = [&] {
    if (++runs < 3) return timer->At(thread.loop().Now(), again);
    timer.reset();
    done.set_value();
  };
  thread.Do([&] {
    timer = thread.loop().MakeTimer();
    timer->At(thread.loop().Now(), again);
  });
  done.get_future().wait();
  EXPECT_EQ(runs, 3);
}

TEST(Loop, PostsRunInOrderAndLater) {
  LoopThread thread;
  std::vector<int> ran;
  thread.Do([&] {
    for (const int number : {1, 2, 3}) thread.loop().Post([&, number] { ran.push_back(number); });
    EXPECT_THAT(ran, IsEmpty());
  });
  thread.Settle();
  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace fairlead

// What the HTTP engine counts of itself.
#include "support/http_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

uint64_t Total(const Histogram& spans) {
  uint64_t total = 0;
  for (size_t i = 0; i <= spans.bounds().size(); ++i) total += spans.count(i);
  return total;
}

TEST(HttpMeasuresOfRequests, EachIsOfOneClass) {
  HttpTestbed bed;
  bed.limits.requests = 1;
  bed.Sent(GetApi());
  bed.Ask(GetApi());  // Refused: one is under way.
  bed.time.Advance(30ms);
  bed.Answer(bed.peer());
  bed.asked()[0]->Drop();
  bed.Sent(GetApi());
  bed.Answer(bed.peer(), "HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n");
  const HttpMeasures& measures = bed.engine().totals().measures;
  EXPECT_THAT(measures.requests, ElementsAre(1, 0, 1, 0, 0, 1));
  EXPECT_EQ(measures.total.sum(), 30ms);
  // Only the first needed a connection.
  EXPECT_EQ(Total(measures.connect), 1u);
  EXPECT_EQ(measures.connect.sum(), 2ms);
  EXPECT_EQ(Total(measures.pool_wait), 2u);
}

}  // namespace
}  // namespace fairlead

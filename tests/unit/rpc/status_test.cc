#include "rpc/status.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using grpc::StatusCode;

TEST(Status, TheDetailsAreAGoogleRpcStatus) {
  const Failure failure{Reason::kLimitReached, Phase::kNotSent, "limits.sessions, 3, are open", 1500ms, "orders"};
  const grpc::Status status = ToStatus(failure);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), failure.message);

  // google.rpc.Status, read as a message of which no field is known.
  google::protobuf::Empty raw;
  ASSERT_TRUE(raw.ParseFromString(status.error_details()));
  const auto& fields = raw.GetReflection()->GetUnknownFields(raw);
  ASSERT_EQ(fields.field_count(), 3);
  EXPECT_EQ(fields.field(0).number(), 1);
  EXPECT_EQ(fields.field(0).varint(), static_cast<uint64_t>(StatusCode::RESOURCE_EXHAUSTED));
  EXPECT_EQ(fields.field(1).number(), 2);
  EXPECT_EQ(fields.field(1).length_delimited(), failure.message);
  EXPECT_EQ(fields.field(2).number(), 3);
  google::protobuf::Any any;
  ASSERT_TRUE(any.ParseFromString(fields.field(2).length_delimited()));
  EXPECT_EQ(any.type_url(), "type.googleapis.com/fairlead.v1.Failure");
  v1::Failure detail;
  ASSERT_TRUE(any.UnpackTo(&detail));
  EXPECT_EQ(detail.reason(), v1::REASON_LIMIT_REACHED);
  EXPECT_EQ(detail.phase(), v1::PHASE_NOT_SENT);
  EXPECT_EQ(detail.message(), failure.message);
  EXPECT_EQ(detail.retry_after().seconds(), 1);
  EXPECT_EQ(detail.retry_after().nanos(), 500'000'000);
  EXPECT_EQ(detail.quota_key(), "orders");

  EXPECT_EQ(ReasonOf(status), Reason::kLimitReached);
}

TEST(Status, OfOthersThereIsNoReason) {
  EXPECT_EQ(ReasonOf(grpc::Status::OK), Reason::kUnspecified);
  EXPECT_EQ(ReasonOf(grpc::Status::CANCELLED), Reason::kUnspecified);
  for (const std::string details : {"garbage", "\x18\x01", "\x1a\x01\x0a", "\x08\x01"})
    EXPECT_EQ(ReasonOf(grpc::Status(StatusCode::INTERNAL, "", details)), Reason::kUnspecified);
}

TEST(Status, WithoutRetryAfterNoneIsTold) {
  EXPECT_FALSE(ToProto({Reason::kClosed}).has_retry_after());
  EXPECT_TRUE(ToProto({.reason = Reason::kClosed, .retry_after = 0s}).has_retry_after());
}

TEST(Status, EveryReasonOfTheApiHasACode) {
  const auto& reasons = *v1::Reason_descriptor();
  for (int i = 0; i < reasons.value_count(); ++i) {
    const auto reason = static_cast<Reason>(reasons.value(i)->number());
    for (const Phase phase :
         {Phase::kUnspecified, Phase::kNotSent, Phase::kPartlySent, Phase::kSentNoReply, Phase::kReplied}) {
      const StatusCode code = CodeOf({reason, phase});
      EXPECT_NE(code, StatusCode::OK) << reasons.value(i)->name();
      EXPECT_EQ(code == StatusCode::INTERNAL, reason == Reason::kUnspecified) << reasons.value(i)->name();
    }
  }
}

// "| `REASON` | `CODE` | ..." of docs/errors.md, which lists each reason once with its code.
TEST(Status, TheDocumentedCodesAreThese) {
  const auto root = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path();
  std::ifstream page(root / "docs/errors.md");
  const std::regex row("\\| `([A-Z_]+)` \\| `([A-Z_]+)`.*");
  std::map<std::string, std::string> documented;
  for (std::string line; std::getline(page, line);) {
    std::smatch parts;
    if (!std::regex_match(line, parts, row)) continue;
    EXPECT_TRUE(documented.emplace(parts[1], parts[2]).second) << parts[1] << " is there twice";
  }
  const std::map<StatusCode, std::string> names = {{StatusCode::INVALID_ARGUMENT, "INVALID_ARGUMENT"},
                                                   {StatusCode::UNIMPLEMENTED, "UNIMPLEMENTED"},
                                                   {StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"},
                                                   {StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED"},
                                                   {StatusCode::NOT_FOUND, "NOT_FOUND"},
                                                   {StatusCode::FAILED_PRECONDITION, "FAILED_PRECONDITION"},
                                                   {StatusCode::DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"},
                                                   {StatusCode::RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"},
                                                   {StatusCode::UNAVAILABLE, "UNAVAILABLE"},
                                                   {StatusCode::DATA_LOSS, "DATA_LOSS"},
                                                   {StatusCode::CANCELLED, "CANCELLED"},
                                                   {StatusCode::ABORTED, "ABORTED"}};
  const auto& reasons = *v1::Reason_descriptor();
  for (int i = 0; i < reasons.value_count(); ++i) {
    const auto reason = static_cast<Reason>(reasons.value(i)->number());
    if (reason == Reason::kUnspecified) continue;
    EXPECT_EQ(documented[std::string(Name(reason))], names.at(CodeOf({reason}))) << Name(reason);
  }
}

TEST(Status, TheCodesAreThoseOfTheDesign) {
  struct Case {
    Failure failure;
    StatusCode code;
  };
  const Case cases[] = {
      {{Reason::kInvalidField}, StatusCode::INVALID_ARGUMENT},
      {{Reason::kUnknownField}, StatusCode::INVALID_ARGUMENT},
      {{Reason::kNotImplemented}, StatusCode::UNIMPLEMENTED},
      {{Reason::kEgressDenied}, StatusCode::PERMISSION_DENIED},
      {{Reason::kSessionNotFound}, StatusCode::NOT_FOUND},
      {{Reason::kLimitReached}, StatusCode::RESOURCE_EXHAUSTED},
      {{Reason::kOverflow}, StatusCode::RESOURCE_EXHAUSTED},
      {{Reason::kWrongGeneration}, StatusCode::FAILED_PRECONDITION},
      {{Reason::kNotOpen}, StatusCode::FAILED_PRECONDITION},
      {{Reason::kWaitExpired}, StatusCode::DEADLINE_EXCEEDED},
      {{Reason::kProtocolError}, StatusCode::DATA_LOSS},
      {{Reason::kConnectFailed, Phase::kNotSent}, StatusCode::UNAVAILABLE},
      {{Reason::kDraining}, StatusCode::UNAVAILABLE},
      {{Reason::kConnectionLost, Phase::kNotSent}, StatusCode::UNAVAILABLE},
      {{Reason::kConnectionLost, Phase::kPartlySent}, StatusCode::UNKNOWN},
      {{Reason::kConnectionLost, Phase::kSentNoReply}, StatusCode::UNKNOWN},
      {{Reason::kConnectionLost, Phase::kReplied}, StatusCode::DATA_LOSS},
      {{Reason::kPeerClosed, Phase::kSentNoReply}, StatusCode::UNKNOWN},
      {{Reason::kRequestTimeout, Phase::kNotSent}, StatusCode::DEADLINE_EXCEEDED},
      {{Reason::kRequestTimeout, Phase::kSentNoReply}, StatusCode::DEADLINE_EXCEEDED},
      {{Reason::kResponseInvalid, Phase::kReplied}, StatusCode::DATA_LOSS},
      {{Reason::kResponseTooLong, Phase::kReplied}, StatusCode::RESOURCE_EXHAUSTED},
      {{Reason::kLimitReached, Phase::kReplied}, StatusCode::RESOURCE_EXHAUSTED},
  };
  for (const Case& each : cases) EXPECT_EQ(CodeOf(each.failure), each.code) << Name(each.failure.reason);
}

}  // namespace
}  // namespace fairlead

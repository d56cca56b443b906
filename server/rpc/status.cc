#include "rpc/status.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/util/time_util.h>

namespace fairlead {
namespace {

// google.rpc.Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }, written by hand:
// Debian packages no google/rpc protos.
std::string EncodeRpcStatus(grpc::StatusCode code, const std::string& message, const v1::Failure& detail) {
  google::protobuf::Any any;
  any.PackFrom(detail);
  std::string encoded;
  google::protobuf::io::StringOutputStream stream(&encoded);
  google::protobuf::io::CodedOutputStream out(&stream);
  const auto bytes = [&out](uint32_t field, const std::string& value) {
    out.WriteTag(field << 3 | 2);
    out.WriteVarint32(static_cast<uint32_t>(value.size()));
    out.WriteString(value);
  };
  out.WriteTag(1 << 3);
  out.WriteVarint32(static_cast<uint32_t>(code));
  bytes(2, message);
  bytes(3, any.SerializeAsString());
  out.Trim();
  return encoded;
}

bool MayHaveBeenSent(const Failure& failure) {
  return failure.phase == Phase::kPartlySent || failure.phase == Phase::kSentNoReply;
}

}  // namespace

v1::Failure ToProto(const Failure& failure) {
  v1::Failure proto;
  proto.set_reason(static_cast<v1::Reason>(failure.reason));
  proto.set_phase(static_cast<v1::Phase>(failure.phase));
  proto.set_message(failure.message);
  if (failure.retry_after) {
    *proto.mutable_retry_after() =
        google::protobuf::util::TimeUtil::NanosecondsToDuration(failure.retry_after->count());
  }
  proto.set_quota_key(failure.quota_key);
  return proto;
}

grpc::StatusCode CodeOf(const Failure& failure) {
  switch (failure.reason) {
    case Reason::kInvalidField:
    case Reason::kUnknownField:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Reason::kNotImplemented:
      return grpc::StatusCode::UNIMPLEMENTED;
    case Reason::kUnauthenticated:
      return grpc::StatusCode::UNAUTHENTICATED;
    case Reason::kEgressDenied:
    case Reason::kNotOwner:
    case Reason::kNotGranted:
    case Reason::kRevoked:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Reason::kSessionNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case Reason::kSessionLive:
    case Reason::kChannelInUse:
    case Reason::kChannelUnknown:
    case Reason::kNotOpen:
    case Reason::kWrongGeneration:
    case Reason::kNotAsked:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Reason::kWaitExpired:
    case Reason::kDialTimeout:
    case Reason::kSetupTimeout:
    case Reason::kAskTimeout:
    case Reason::kIdleTimeout:
    case Reason::kTopicStale:
    case Reason::kLegLags:
    case Reason::kPongTimeout:
    case Reason::kWriteTimeout:
    case Reason::kRequestTimeout:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case Reason::kLimitReached:
    case Reason::kOverflow:
    case Reason::kResponseTooLong:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Reason::kResolveFailed:
    case Reason::kConnectFailed:
    case Reason::kTlsFailed:
    case Reason::kCertificateRejected:
    case Reason::kUpgradeRefused:
    case Reason::kSetupRejected:
    case Reason::kPeerClosed:
    case Reason::kReconnectRequested:
    case Reason::kMaxAge:
    case Reason::kShutdownAnnounced:
    case Reason::kNoOwner:
    case Reason::kDraining:
    case Reason::kAttemptsExhausted:
    case Reason::kOutageExhausted:
      return MayHaveBeenSent(failure) ? grpc::StatusCode::UNKNOWN : grpc::StatusCode::UNAVAILABLE;
    case Reason::kConnectionLost:
      // An answer that was cut is no answer, but it had begun.
      if (failure.phase == Phase::kReplied) return grpc::StatusCode::DATA_LOSS;
      return MayHaveBeenSent(failure) ? grpc::StatusCode::UNKNOWN : grpc::StatusCode::UNAVAILABLE;
    case Reason::kUpgradeInvalid:
    case Reason::kProtocolError:
    case Reason::kMessageTooLong:
    case Reason::kResponseInvalid:
      return grpc::StatusCode::DATA_LOSS;
    case Reason::kDetached:
    case Reason::kClosed:
      return grpc::StatusCode::CANCELLED;
    case Reason::kSuperseded:
      return grpc::StatusCode::ABORTED;
    case Reason::kUnspecified:
      return grpc::StatusCode::INTERNAL;
  }
  return grpc::StatusCode::INTERNAL;
}

grpc::Status ToStatus(const Failure& failure) {
  const grpc::StatusCode code = CodeOf(failure);
  return grpc::Status(code, failure.message, EncodeRpcStatus(code, failure.message, ToProto(failure)));
}

Reason ReasonOf(const grpc::Status& status) {
  google::protobuf::Empty read;  // As a message of which no field is known.
  google::protobuf::Any any;
  v1::Failure failure;
  if (!read.ParseFromString(status.error_details())) return Reason::kUnspecified;
  const auto& fields = read.GetReflection()->GetUnknownFields(read);
  const int last = fields.field_count() - 1;
  const bool readable = last >= 0 && fields.field(last).number() == 3 &&
                        fields.field(last).type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED &&
                        any.ParseFromString(fields.field(last).length_delimited()) && any.UnpackTo(&failure);
  return readable ? static_cast<Reason>(failure.reason()) : Reason::kUnspecified;
}

}  // namespace fairlead

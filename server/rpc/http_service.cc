#include "rpc/http_service.h"

#include <memory>
#include <optional>
#include <utility>

#include "policy/http_request.h"
#include "rpc/http_requests.h"
#include "rpc/rpc_log.h"
#include "rpc/status.h"

namespace fairlead {
namespace {

// "off": the client says that its gRPC tries no call again.
constexpr const char* kRetries = "fairlead-retries";

// One Send. Kept by itself until gRPC is done with it, and by what is posted.
class SendCall final : public grpc::ServerUnaryReactor, public std::enable_shared_from_this<SendCall> {
 public:
  SendCall(const HttpFace& face, v1::SendResponse& response, grpc::CallbackServerContext& context)
      : face_(face), response_(response), context_(context) {}

  // gRPC's thread: checks off the loop.
  void Begin(const Identity& identity, const v1::SendRequest& request) {
    self_ = shared_from_this();
    const auto admission = identity.Admit(context_, MethodOf(Rpc::kSend));
    if (!admission) return FinishWith(ToStatus(admission.error()));
    identity_ = admission->identity;
    auto parsed = ParseSendRequest(request, face_.limits, face_.engine.options(), Remaining(context_.deadline()));
    if (!parsed) return FinishWith(ToStatus(parsed.error()));
    parsed->request.trace = admission->trace;
    const HttpRequest& asked_for = parsed->request;
    const auto access = identity.access().Get();
    if (auto may = access->MayRequest(admission->identity, asked_for.method, asked_for.url); !may)
      return FinishWith(ToStatus(may.error()));
    names_ = std::move(parsed->response_header_names);
    const bool may_be_asked_twice = IsSafe(asked_for.method) || HeaderOf(context_, kRetries) == "off";
    asked_ = std::move(parsed->request);
    if (may_be_asked_twice) return Pass();
    // No client of gRPC's tries a call again of which it has seen something: if this process dies with an order, the
    // next one is not asked for it. So the order waits until its client has been sent something.
    StartSendInitialMetadata();
  }
  void OnSendInitialMetadataDone(bool ok) override {
    if (ok) return Pass();
    // The client has seen nothing, and may be asking another gateway by now.
    face_.timers.Post([self = shared_from_this()] { self->End(grpc::Status::CANCELLED); });
  }

  void OnCancel() override {
    face_.timers.Post([self = shared_from_this()] {
      self->cancelled_ = true;
      if (self->under_way_) self->End(grpc::Status::CANCELLED);
    });
  }
  void OnDone() override {
    // The engine counts the request until here, on its own thread: whoever lets go of this last may be another.
    face_.timers.Post([self = std::exchange(self_, nullptr)] { self->under_way_.reset(); });
  }

 private:
  // OnDone only posts: no thread of gRPC's needs to be woken for it. (ServerReactor's, private and virtual.)
  bool InternalInlineable() override { return true; }

  static Duration Remaining(std::chrono::system_clock::time_point deadline) {
    if (deadline == std::chrono::system_clock::time_point::max()) return Duration::max();
    return std::chrono::duration_cast<Duration>(deadline - std::chrono::system_clock::now());
  }

  // gRPC's threads.
  void Pass() {
    face_.timers.Post([self = shared_from_this()] {
      if (self->cancelled_) return self->End(grpc::Status::CANCELLED);
      auto under_way = self->face_.engine.Send(
          self->identity_, std::move(self->asked_),
          [call = self.get()](Result<HttpResponse> outcome) { call->Ended(std::move(outcome)); });
      if (!self->ended_) self->under_way_.emplace(std::move(under_way));
    });
  }

  // The loop.
  void Ended(Result<HttpResponse> outcome) {
    if (!outcome) {
      // The exchange may have it: a client whose retry policy names this status would have it sent once more.
      if (outcome.error().phase != Phase::kNotSent) context_.AddTrailingMetadata("grpc-retry-pushback-ms", "-1");
      return End(ToStatus(outcome.error()));
    }
    *response_.mutable_response() = ToProto(std::move(*outcome), names_);
    End(grpc::Status::OK);
  }
  void End(grpc::Status status) {
    if (std::exchange(ended_, true)) return;
    if (status.error_code() == grpc::StatusCode::CANCELLED) under_way_.reset();
    face_.flusher.Run([self = shared_from_this(), status = std::move(status)] { self->FinishWith(status); });
  }
  // Once, on any thread.
  void FinishWith(const grpc::Status& status) {
    const Duration took = face_.timers.Now() - began_;
    face_.rpcs.Ended(Rpc::kSend, status.error_code(), took);
    LogEnd(context_, Rpc::kSend, identity_, status, took);
    Finish(status);
  }

  const HttpFace& face_;
  const SteadyTime began_ = face_.timers.Now();
  v1::SendResponse& response_;
  grpc::CallbackServerContext& context_;
  std::string identity_;  // Empty: it was refused.
  HttpRequest asked_;
  std::vector<std::string> names_;
  std::shared_ptr<SendCall> self_;
  // Of the loop.
  std::optional<HttpEngine::UnderWay> under_way_;
  bool cancelled_ = false;
  bool ended_ = false;
};

grpc::Status NotInThisVersion(const Identity& identity, const grpc::ServerContext& context, RpcMeasures& rpcs,
                              Rpc rpc) {
  rpcs.StreamBegan(rpc);
  const auto admission = identity.Admit(context, MethodOf(rpc));
  const grpc::Status status = ToStatus(admission ? NotPossibleYet(MethodOf(rpc)) : admission.error());
  rpcs.StreamEnded(rpc, status.error_code());
  LogEnd(context, rpc, admission ? admission->identity : "", status, Duration::zero());
  return status;
}

}  // namespace

grpc::ServerUnaryReactor* HttpServiceImpl::Send(grpc::CallbackServerContext* context, const v1::SendRequest* request,
                                                v1::SendResponse* response) {
  auto call = std::make_shared<SendCall>(face_, *response, *context);
  SendCall* const reactor = call.get();
  call->Begin(identity_, *request);
  return reactor;
}

grpc::Status HttpServiceImpl::Pipeline(
    grpc::ServerContext* context, grpc::ServerReaderWriter<v1::PipelineResponse, v1::PipelineRequest>* /*stream*/) {
  return NotInThisVersion(identity_, *context, face_.rpcs, Rpc::kPipeline);
}

grpc::Status HttpServiceImpl::Download(grpc::ServerContext* context, const v1::DownloadRequest* /*request*/,
                                       grpc::ServerWriter<v1::DownloadResponse>* /*writer*/) {
  return NotInThisVersion(identity_, *context, face_.rpcs, Rpc::kDownload);
}

}  // namespace fairlead

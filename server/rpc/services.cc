#include "rpc/services.h"

#include <algorithm>

#include "rpc/attach_stream.h"
#include "rpc/checker.h"
#include "rpc/events.h"
#include "rpc/rpc_log.h"
#include "rpc/status.h"
#include "rpc/tail_stream.h"

namespace fairlead {
namespace {

constexpr uint32_t kDefaultPage = 100;
constexpr uint32_t kMaxPage = 1000;

grpc::Status NotInThisVersion(const Identity& identity, const grpc::ServerContext& context, RpcMeasures& rpcs,
                              Rpc rpc) {
  const auto admission = identity.Admit(context, MethodOf(rpc));
  const grpc::Status status = ToStatus(admission ? NotPossibleYet(MethodOf(rpc)) : admission.error());
  rpcs.Ended(rpc, status.error_code(), Duration::zero());
  LogEnd(context, rpc, admission ? admission->identity : "", status, Duration::zero());
  return status;
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* SessionServiceImpl::Attach(
    grpc::CallbackServerContext* context) {
  return AttachStream::Begin(identity_.Admit(*context, MethodOf(Rpc::kAttach)), streams_, *context);
}

grpc::ServerWriteReactor<v1::TailResponse>* SessionServiceImpl::Tail(grpc::CallbackServerContext* context,
                                                                     const v1::TailRequest* request) {
  return TailStream::Begin(identity_.Admit(*context, MethodOf(Rpc::kTail)), *request, streams_, *context);
}

grpc::ServerUnaryReactor* SessionServiceImpl::ListSessions(grpc::CallbackServerContext* context,
                                                           const v1::ListSessionsRequest* request,
                                                           v1::ListSessionsResponse* response) {
  return Run(*context, Rpc::kListSessions, [this, request, response](const Call& call) {
    if (auto known = CheckKnown(*request); !known) return Finish(call, ToStatus(known.error()));
    const uint32_t count = request->page_size() == 0 ? kDefaultPage : std::min(request->page_size(), kMaxPage);
    // The token is the last name of the page before; one more than asked for tells whether there is a next page.
    const auto sessions = streams_.registry().List(call.identity, request->page_token(), count + 1);
    for (size_t i = 0; i < std::min<size_t>(count, sessions.size()); ++i)
      *response->add_sessions() = Describe(*sessions[i], streams_.timers().WallNow());
    if (sessions.size() > count) response->set_next_page_token(sessions[count - 1]->name());
    Finish(call, grpc::Status::OK);
  });
}

grpc::ServerUnaryReactor* SessionServiceImpl::GetSession(grpc::CallbackServerContext* context,
                                                         const v1::GetSessionRequest* request,
                                                         v1::GetSessionResponse* response) {
  return Run(*context, Rpc::kGetSession, [this, request, response](const Call& call) {
    const auto session = Find(*request, request->session(), call);
    if (session == nullptr) return;
    *response->mutable_session() = Describe(*session, streams_.timers().WallNow());
    Finish(call, grpc::Status::OK);
  });
}

grpc::ServerUnaryReactor* SessionServiceImpl::CloseSession(grpc::CallbackServerContext* context,
                                                           const v1::CloseSessionRequest* request,
                                                           v1::CloseSessionResponse* /*response*/) {
  return Run(*context, Rpc::kCloseSession, [this, request](const Call& call) {
    const auto session = Find(*request, request->session(), call);
    if (session == nullptr) return;
    session->Close({Reason::kClosed, Phase::kUnspecified, "CloseSession closed the session"});
    session->WhenClosed([this, call] { Finish(call, grpc::Status::OK); });
  });
}

grpc::ServerUnaryReactor* SessionServiceImpl::Run(grpc::CallbackServerContext& context, Rpc rpc,
                                                  std::function<void(const Call&)> work) {
  Call call{.reactor = context.DefaultReactor(), .context = &context, .rpc = rpc, .began = streams_.timers().Now()};
  auto admission = identity_.Admit(context, MethodOf(rpc));
  if (!admission) {
    Finish(call, ToStatus(admission.error()));
    return call.reactor;
  }
  call.identity = std::move(admission->identity);
  streams_.timers().Post([work = std::move(work), call] { work(call); });
  return call.reactor;
}

std::shared_ptr<Session> SessionServiceImpl::Find(const google::protobuf::Message& request, const std::string& name,
                                                  const Call& call) {
  Result<void> valid = CheckKnown(request);
  if (valid) valid = CheckSessionName(name, "session");
  auto session = valid ? streams_.registry().Find(call.identity, name) : nullptr;
  if (valid && session == nullptr)
    valid = NotSent(Reason::kSessionNotFound, "session: \"" + name + "\" is not a live session");
  if (!valid) Finish(call, ToStatus(valid.error()));
  return session;
}

void SessionServiceImpl::Finish(const Call& call, grpc::Status status) {
  const Duration took = streams_.timers().Now() - call.began;
  streams_.rpcs().Ended(call.rpc, status.error_code(), took);
  LogEnd(*call.context, call.rpc, call.identity, status, took);
  streams_.flusher().Run([reactor = call.reactor, status = std::move(status)] { reactor->Finish(status); });
}

grpc::Status QuotaServiceImpl::Acquire(grpc::ServerContext* context, const v1::AcquireRequest* /*request*/,
                                       v1::AcquireResponse* /*response*/) {
  return NotInThisVersion(identity_, *context, rpcs_, Rpc::kAcquire);
}

grpc::Status QuotaServiceImpl::ListQuotas(grpc::ServerContext* context, const v1::ListQuotasRequest* /*request*/,
                                          v1::ListQuotasResponse* /*response*/) {
  return NotInThisVersion(identity_, *context, rpcs_, Rpc::kListQuotas);
}

grpc::Status QuotaServiceImpl::ReportUsage(grpc::ServerContext* context, const v1::ReportUsageRequest* /*request*/,
                                           v1::ReportUsageResponse* /*response*/) {
  return NotInThisVersion(identity_, *context, rpcs_, Rpc::kReportUsage);
}

}  // namespace fairlead

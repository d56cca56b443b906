#include "rpc/services.h"

#include <algorithm>

#include "rpc/attach_stream.h"
#include "rpc/checker.h"
#include "rpc/events.h"
#include "rpc/status.h"
#include "rpc/tail_stream.h"

namespace fairlead {
namespace {

constexpr uint32_t kDefaultPage = 100;
constexpr uint32_t kMaxPage = 1000;

grpc::Status NotInThisVersion(const Identity& identity, const grpc::ServerContext& context, std::string_view name) {
  if (auto admission = identity.Admit(context, name); !admission) return ToStatus(admission.error());
  return ToStatus({Reason::kNotImplemented, Phase::kNotSent, std::string(name) + ": is not possible in this version"});
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* SessionServiceImpl::Attach(
    grpc::CallbackServerContext* context) {
  return AttachStream::Begin(identity_.Admit(*context, kAttachMethod), streams_, *context);
}

grpc::ServerWriteReactor<v1::TailResponse>* SessionServiceImpl::Tail(grpc::CallbackServerContext* context,
                                                                     const v1::TailRequest* request) {
  return TailStream::Begin(identity_.Admit(*context, "SessionService.Tail"), *request, streams_, *context);
}

grpc::ServerUnaryReactor* SessionServiceImpl::ListSessions(grpc::CallbackServerContext* context,
                                                           const v1::ListSessionsRequest* request,
                                                           v1::ListSessionsResponse* response) {
  return Run(*context, "SessionService.ListSessions",
             [this, request, response](const std::string& identity, grpc::ServerUnaryReactor* reactor) {
               if (auto known = CheckKnown(*request); !known) return Finish(reactor, ToStatus(known.error()));
               const uint32_t count =
                   request->page_size() == 0 ? kDefaultPage : std::min(request->page_size(), kMaxPage);
               // The token is the last name of the page before; one more than asked for tells whether there is a next
               // page.
               const auto sessions = streams_.registry().List(identity, request->page_token(), count + 1);
               for (size_t i = 0; i < std::min<size_t>(count, sessions.size()); ++i)
                 *response->add_sessions() = Describe(*sessions[i], streams_.timers().WallNow());
               if (sessions.size() > count) response->set_next_page_token(sessions[count - 1]->name());
               Finish(reactor, grpc::Status::OK);
             });
}

grpc::ServerUnaryReactor* SessionServiceImpl::GetSession(grpc::CallbackServerContext* context,
                                                         const v1::GetSessionRequest* request,
                                                         v1::GetSessionResponse* response) {
  return Run(*context, "SessionService.GetSession",
             [this, request, response](const std::string& identity, grpc::ServerUnaryReactor* reactor) {
               const auto session = Find(identity, *request, request->session(), reactor);
               if (session == nullptr) return;
               *response->mutable_session() = Describe(*session, streams_.timers().WallNow());
               Finish(reactor, grpc::Status::OK);
             });
}

grpc::ServerUnaryReactor* SessionServiceImpl::CloseSession(grpc::CallbackServerContext* context,
                                                           const v1::CloseSessionRequest* request,
                                                           v1::CloseSessionResponse* /*response*/) {
  return Run(*context, "SessionService.CloseSession",
             [this, request](const std::string& identity, grpc::ServerUnaryReactor* reactor) {
               const auto session = Find(identity, *request, request->session(), reactor);
               if (session == nullptr) return;
               session->Close({Reason::kClosed, Phase::kUnspecified, "CloseSession closed the session"});
               session->WhenClosed([this, reactor] { Finish(reactor, grpc::Status::OK); });
             });
}

grpc::ServerUnaryReactor* SessionServiceImpl::Run(
    grpc::CallbackServerContext& context, std::string_view method,
    std::function<void(const std::string& identity, grpc::ServerUnaryReactor*)> call) {
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  auto admission = identity_.Admit(context, method);
  if (!admission) {
    Finish(reactor, ToStatus(admission.error()));
    return reactor;
  }
  streams_.timers().Post(
      [call = std::move(call), identity = std::move(admission->identity), reactor] { call(identity, reactor); });
  return reactor;
}

std::shared_ptr<Session> SessionServiceImpl::Find(const std::string& identity, const google::protobuf::Message& request,
                                                  const std::string& name, grpc::ServerUnaryReactor* reactor) {
  Result<void> valid = CheckKnown(request);
  if (valid) valid = CheckSessionName(name, "session");
  auto session = valid ? streams_.registry().Find(identity, name) : nullptr;
  if (valid && session == nullptr)
    valid = NotSent(Reason::kSessionNotFound, "session: \"" + name + "\" is not a live session");
  if (!valid) Finish(reactor, ToStatus(valid.error()));
  return session;
}

void SessionServiceImpl::Finish(grpc::ServerUnaryReactor* reactor, grpc::Status status) {
  streams_.flusher().Run([reactor, status = std::move(status)] { reactor->Finish(status); });
}

grpc::Status QuotaServiceImpl::Acquire(grpc::ServerContext* context, const v1::AcquireRequest* /*request*/,
                                       v1::AcquireResponse* /*response*/) {
  return NotInThisVersion(identity_, *context, "QuotaService.Acquire");
}

grpc::Status QuotaServiceImpl::ListQuotas(grpc::ServerContext* context, const v1::ListQuotasRequest* /*request*/,
                                          v1::ListQuotasResponse* /*response*/) {
  return NotInThisVersion(identity_, *context, "QuotaService.ListQuotas");
}

grpc::Status QuotaServiceImpl::ReportUsage(grpc::ServerContext* context, const v1::ReportUsageRequest* /*request*/,
                                           v1::ReportUsageResponse* /*response*/) {
  return NotInThisVersion(identity_, *context, "QuotaService.ReportUsage");
}

}  // namespace fairlead

// The services of one listener.
#pragma once

#include <fairlead/v1/quota.grpc.pb.h>
#include <fairlead/v1/session.grpc.pb.h>

#include <functional>
#include <string>

#include "rpc/identity.h"
#include "rpc/streams.h"

namespace fairlead {

using SessionServiceBase = v1::SessionService::WithRawCallbackMethod_Attach<v1::SessionService::WithCallbackMethod_Tail<
    v1::SessionService::WithCallbackMethod_ListSessions<v1::SessionService::WithCallbackMethod_GetSession<
        v1::SessionService::WithCallbackMethod_CloseSession<v1::SessionService::Service>>>>>;

// gRPC's threads; the work is posted to the loop. The streams outlive it.
class SessionServiceImpl final : public SessionServiceBase {
 public:
  SessionServiceImpl(Identity identity, Streams& streams) : identity_(std::move(identity)), streams_(streams) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Attach(grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::TailResponse>* Tail(grpc::CallbackServerContext* context,
                                                   const v1::TailRequest* request) override;
  grpc::ServerUnaryReactor* ListSessions(grpc::CallbackServerContext* context, const v1::ListSessionsRequest* request,
                                         v1::ListSessionsResponse* response) override;
  grpc::ServerUnaryReactor* GetSession(grpc::CallbackServerContext* context, const v1::GetSessionRequest* request,
                                       v1::GetSessionResponse* response) override;
  grpc::ServerUnaryReactor* CloseSession(grpc::CallbackServerContext* context, const v1::CloseSessionRequest* request,
                                         v1::CloseSessionResponse* response) override;

 private:
  struct Call {
    grpc::ServerUnaryReactor* reactor;
    const grpc::CallbackServerContext* context;
    Rpc rpc;
    SteadyTime began;
    std::string identity = {};  // Empty: it was refused.
  };
  // Runs the call on the loop, as the identity that it comes from; who is nobody, or may not, is refused.
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext& context, Rpc rpc, std::function<void(const Call&)> work);
  // Checks the request and finds its session, on the loop; else finishes the reactor and returns null.
  std::shared_ptr<Session> Find(const google::protobuf::Message& request, const std::string& name, const Call& call);
  void Finish(const Call& call, grpc::Status status);

  const Identity identity_;
  Streams& streams_;
};

// Not possible in this version: every call of who may make it is refused by name.
class QuotaServiceImpl final : public v1::QuotaService::Service {
 public:
  QuotaServiceImpl(Identity identity, RpcMeasures& rpcs) : identity_(std::move(identity)), rpcs_(rpcs) {}

  grpc::Status Acquire(grpc::ServerContext* context, const v1::AcquireRequest* request,
                       v1::AcquireResponse* response) override;
  grpc::Status ListQuotas(grpc::ServerContext* context, const v1::ListQuotasRequest* request,
                          v1::ListQuotasResponse* response) override;
  grpc::Status ReportUsage(grpc::ServerContext* context, const v1::ReportUsageRequest* request,
                           v1::ReportUsageResponse* response) override;

 private:
  const Identity identity_;
  RpcMeasures& rpcs_;
};

}  // namespace fairlead

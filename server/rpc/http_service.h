// HttpService of one listener.
#pragma once

#include <fairlead/v1/http.grpc.pb.h>

#include <string>

#include "base/measures.h"
#include "http/engine.h"
#include "rpc/flusher.h"
#include "rpc/identity.h"

namespace fairlead {

// What the services of all listeners share. Outlives them and their RPCs.
struct HttpFace {
  HttpEngine& engine;
  Timers& timers;  // Of the loop.
  const Limits& limits;
  Flusher& flusher;
  RpcMeasures& rpcs;
};

// gRPC's threads; the work is posted to the loop.
class HttpServiceImpl final : public v1::HttpService::WithCallbackMethod_Send<v1::HttpService::Service> {
 public:
  HttpServiceImpl(Identity identity, const HttpFace& face) : identity_(std::move(identity)), face_(face) {}

  grpc::ServerUnaryReactor* Send(grpc::CallbackServerContext* context, const v1::SendRequest* request,
                                 v1::SendResponse* response) override;
  // Not possible in this version: refused by name.
  grpc::Status Pipeline(grpc::ServerContext* context,
                        grpc::ServerReaderWriter<v1::PipelineResponse, v1::PipelineRequest>* stream) override;
  grpc::Status Download(grpc::ServerContext* context, const v1::DownloadRequest* request,
                        grpc::ServerWriter<v1::DownloadResponse>* writer) override;

 private:
  const Identity identity_;
  const HttpFace face_;
};

}  // namespace fairlead

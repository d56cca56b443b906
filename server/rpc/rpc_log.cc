#include "rpc/rpc_log.h"

#include "base/log.h"
#include "policy/access.h"
#include "rpc/identity.h"
#include "rpc/status.h"

namespace fairlead {

void LogEnd(const grpc::ServerContextBase& context, Rpc rpc, std::string_view identity, const grpc::Status& status,
            Duration took) {
  const bool failed = !status.ok() && status.error_code() != grpc::StatusCode::CANCELLED;
  const Level level = failed && !identity.empty() ? Level::kInfo : Level::kDebug;
  if (!LogEnabled(level)) return;
  const TraceId trace = TraceOf(context);
  const std::string_view method = MethodOf(rpc);
  const std::string_view code = CodeName(status.error_code());
  // Those are as many as there are RPCs: by the time that it took each is another, and none is suppressed.
  if (level == Level::kDebug) {
    return Log(level, "rpc.end",
               {{"method", method},
                {"identity", identity},
                {"code", code},
                {"took", took},
                LogField::Detail("trace_id", trace.text())});
  }
  Log(level, "rpc.end",
      {{"method", method},
       {"identity", identity},
       {"code", code},
       {"reason", Name(ReasonOf(status))},
       LogField::Detail("took", took),
       LogField::Detail("peer", context.peer()),
       LogField::Detail("message", status.error_message()),
       LogField::Detail("trace_id", trace.text())});
}

}  // namespace fairlead

// The simulated exchange as a program.
#include <absl/strings/str_format.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "exchange/exchange.h"

namespace {

constexpr const char* kHelp = R"(usage: exchange [FLAGS]

A simulated exchange for tests, demo and benchmarks: WebSocket, HTTP and raw sockets, each plain and with TLS. A client chooses
feed or answer, and faults, by the path and query of its URL (on raw sockets: of its preamble); faults on demand, and what was sent and received, are at the control endpoint (GET /help there lists them).

  --address ADDRESS     IP address of all listeners (default 127.0.0.1)
  --ws-port PORT        plain WebSocket (default 0: any free port)
  --wss-port PORT       WebSocket over TLS (default 0: any free port)
  --http-port PORT      plain HTTP/1.1 (default 0: any free port)
  --https-port PORT     HTTP/1.1 over TLS (default 0: any free port)
  --tcp-port PORT       raw sockets (default 0: any free port)
  --tls-port PORT       raw sockets over TLS (default 0: any free port)
  --control-port PORT   control endpoint, HTTP (default 0: any free port)
  --recordings DIR      directory of recordings (default: $FAIRLEAD_RECORDINGS, else ../shared/recordings)
  --ca-out FILE         where to write the certificate authority that TLS clients must trust, as PEM
                        (default: a file in the directory for temporary files, removed at the end)
  --help                this text

When ready, prints one line:
  exchange ready ws=HOST:PORT wss=HOST:PORT control=HOST:PORT ca=PATH http=HOST:PORT https=HOST:PORT tcp=HOST:PORT tls=HOST:PORT
SIGTERM and SIGINT end it with status 0. A wrong flag ends it with status 2.

feeds of WebSockets and raw sockets (default values in parentheses; rate in messages a second, 0 = flat out; count 0 = endless)
  /numbered?rate=(0)&count=(0)&size=(0)&feed=(default)&start=(open)|subscribe
  /synthetic?seed=(1)&rate=(0)&count=(0)&feed=(default)&start=(open)|subscribe
  /recording/NAME?speed=(flat)|recorded|FACTOR&count=(0)&start=(open)|subscribe
  /login?reject=(0)|1&mute=(0)|1 and all of /numbered
  /echo   /idle   /big?size=(16777216)&count=(1)   /bomb?size=(1073741824)&count=(1)   /endless?bytes=(16777216)
every feed
  close=CODE  write=BYTES  write_pause_us=US  reply_to=TEXT  reply=TEXT  tag=ANY  token=ANY
  fault=drop|partial|reset|reset_at_byte|stall|half_close|close|corrupt|silent|no_pong|never_read|never_upgrade|slow_handshake
  with after=FRAMES or after_ms=MS, and byte=N, code=N, reason=TEXT, corruption=KIND, then=fin|reset, ms=N as the fault needs
WebSockets
  deflate=(0)|1|context  fragment=BYTES  subprotocol=NAME|none  status=N  retry_after=TEXT
raw sockets, whose first line is "FAIRLEAD-TEST /feed?query" and LF
  framing=(delimiter)&delimiter=(%0D%0A)   framing=length&width=1|2|(4)|8&order=(big)|little&counts_itself=(0)|1   framing=none

HTTP answers
  /echo?raw=(0)|1   /order?id=ID   /depth?levels=(10)   /big?size=(16777216)   /chunked?size=(10000)&chunk=(1000)&trailers=(0)|1
  /until_close?size=(10000)&goodbye=0|(1)   /slow?ms=(0)&first_byte_ms=(0)&byte_ms=(0)&size=(16)   /status/N?retry_after=TEXT&body=TEXT
  /headers?count=(10)&size=(10)   /interim?count=(1)&code=(103)   /recording/NAME?index=(0)   /close?after=(1)   /close_after_write
  /fin_then_go?ms=(0)   /raw?base64=BYTES&close=(0)|1&reset=(0)|1
all of them
  fault=reset_request_at|reset_response_at|close_response_at|stall_at|never_answer|close_idle|reset_idle|half_close
  with byte=N, idle_ms=(0), goodbye=(0)|1 as the fault needs
)";

// False: the flag is wrong; `why` says so.
bool ReadFlags(int argc, char** argv, exchange::Options& options, std::string& ca_out, std::string& why) {
  for (int index = 1; index < argc; ++index) {
    std::string name = argv[index];
    std::string value;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (index + 1 < argc) {
      value = argv[++index];
    } else {
      why = name + " is unknown or lacks its value";
      return false;
    }
    uint16_t* port = name == "--ws-port"        ? &options.ws_port
                     : name == "--wss-port"     ? &options.wss_port
                     : name == "--http-port"    ? &options.http_port
                     : name == "--https-port"   ? &options.https_port
                     : name == "--tcp-port"     ? &options.tcp_port
                     : name == "--tls-port"     ? &options.tls_port
                     : name == "--control-port" ? &options.control_port
                                                : nullptr;
    std::string* text = name == "--address"      ? &options.address
                        : name == "--recordings" ? &options.recordings
                        : name == "--ca-out"     ? &ca_out
                                                 : nullptr;
    if (port != nullptr) {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *port);
      if (error != std::errc() || end != value.data() + value.size()) {
        why = name + " " + value + " is not a port";
        return false;
      }
    } else if (text != nullptr && !value.empty()) {
      *text = value;
    } else {
      why = text != nullptr ? name + " lacks its value" : "there is no flag " + name;
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  for (int index = 1; index < argc; ++index) {
    if (std::string(argv[index]) != "--help") continue;
    std::cout << kHelp;
    return 0;
  }
  exchange::Options options;
  std::string ca_out;
  std::string why;
  if (!ReadFlags(argc, argv, options, ca_out, why)) {
    std::cerr << "exchange: " << why << "; see --help\n";
    return 2;
  }
  const bool temporary = ca_out.empty();
  if (temporary) {
    ca_out = (std::filesystem::temp_directory_path() / ("exchange-ca-" + std::to_string(getpid()) + ".pem")).string();
  }

  // Blocked in every thread, so that only sigwait below gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    exchange::Exchange exchange(options);
    std::ofstream file(ca_out);
    file << exchange.ca_pem() << std::flush;
    if (!file) {
      std::cerr << "exchange: cannot write " << ca_out << "\n";
      return 1;
    }
    const std::string& host = options.address;
    std::cout << absl::StrFormat("exchange ready ws=%s:%d wss=%s:%d control=%s:%d ca=%s", host, exchange.ws_port(),
                                 host, exchange.wss_port(), host, exchange.control_port(), ca_out)
              << absl::StrFormat(" http=%s:%d https=%s:%d tcp=%s:%d tls=%s:%d", host, exchange.http_port(), host,
                                 exchange.https_port(), host, exchange.tcp_port(), host, exchange.tls_port())
              << std::endl;
    int signal = 0;
    sigwait(&signals, &signal);
  } catch (const std::exception& error) {
    std::cerr << "exchange: " << error.what() << "\n";
    return 1;
  }
  if (temporary) std::filesystem::remove(ca_out);
  return 0;
}

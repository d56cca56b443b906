#include "ops/process_use.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <memory>

namespace fairlead {
namespace {

// What counting them needs is not counted; readdir itself is quick, some 10'000 in 5 ms.
uint64_t OpenFiles() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), &closedir);
  if (!directory) return 0;
  uint64_t count = 0;
  while (const dirent* entry = readdir(directory.get())) count += entry->d_name[0] != '.' ? 1 : 0;
  return count - 1;
}

}  // namespace

ProcessUse ReadProcessUse() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  uint64_t size = 0;
  uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return {.open_files = OpenFiles(),
          .open_files_limit = limit.rlim_cur,
          .resident_bytes = resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE))};
}

std::optional<std::chrono::sys_seconds> EarliestExpiry(const std::vector<std::string>& files) {
  std::optional<std::chrono::sys_seconds> earliest;
  for (const std::string& file : files) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_file(file.c_str(), "r"), &BIO_free);
    while (bio) {
      const std::unique_ptr<X509, decltype(&X509_free)> certificate(
          PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), &X509_free);
      std::tm end = {};
      if (!certificate) break;
      if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) continue;
      const std::chrono::sys_seconds at(std::chrono::seconds(timegm(&end)));
      earliest = std::min(at, earliest.value_or(at));
    }
  }
  ERR_clear_error();  // The end of a file is one of its errors.
  return earliest;
}

}  // namespace fairlead

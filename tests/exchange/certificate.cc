#include "exchange/certificate.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <stdexcept>

namespace exchange {
namespace {

void Check(bool ok) {
  if (!ok) throw std::runtime_error("OpenSSL could not make the exchange's certificate");
}

void AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  Check(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Subject, serial, validity and key; the caller adds extensions and signs.
Certificate MakeCertificate(const char* common_name, EVP_PKEY* key) {
  Certificate certificate(X509_new(), X509_free);
  Check(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  int64_t serial = 0;
  Check(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate.get()), serial & INT64_MAX);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 30L * 24 * 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name), -1, -1, 0);
  Check(X509_set_pubkey(certificate.get(), key) == 1);
  return certificate;
}

}  // namespace

Identity MakeIdentity() {
  const Key ca_key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  Check(ca_key != nullptr && key != nullptr);

  const Certificate ca = MakeCertificate("Simulated exchange CA", ca_key.get());
  X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get()));
  AddExtension(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(ca.get(), ca.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  AddExtension(ca.get(), ca.get(), NID_subject_key_identifier, "hash");
  Check(X509_sign(ca.get(), ca_key.get(), EVP_sha256()) > 0);

  Certificate certificate = MakeCertificate("localhost", key.get());
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(ca.get()));
  AddExtension(certificate.get(), ca.get(), NID_basic_constraints, "critical,CA:FALSE");
  AddExtension(certificate.get(), ca.get(), NID_key_usage, "critical,digitalSignature");
  AddExtension(certificate.get(), ca.get(), NID_ext_key_usage, "serverAuth");
  AddExtension(certificate.get(), ca.get(), NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
  AddExtension(certificate.get(), ca.get(), NID_authority_key_identifier, "keyid");
  Check(X509_sign(certificate.get(), ca_key.get(), EVP_sha256()) > 0);

  const std::unique_ptr<BIO, decltype(&BIO_free)> pem(BIO_new(BIO_s_mem()), BIO_free);
  Check(pem != nullptr && PEM_write_bio_X509(pem.get(), ca.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(pem.get(), &text);
  return {std::string(text, static_cast<size_t>(size)), std::move(key), std::move(certificate)};
}

}  // namespace exchange

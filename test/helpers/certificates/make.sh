#!/bin/sh
# Makes the certificates and keys of the tests anew, here. They are in the repository, so that no test needs openssl:
# run this only to change what they say. Nothing but the tests trusts them, so their keys are no secrets.
#
#   ca.pem                  the authority of the next two
#   server.pem, server.key  for localhost, 127.0.0.1, ::1 and backend.test
#   client.pem, client.key  what a gateway shows to a backend that asks for a certificate
#   other.pem, other.key    for the names of server.pem, signed by itself: no authority vouches for it
#   weak.pem, weak.key      the same, with a key so short that TLS refuses it
#
# They are valid from 2020 to 2120: a clock that is somewhat off must not fail a test.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
from=20200101000000Z
to=21200101000000Z

: >"$work/index.txt"
cat >"$work/openssl.cnf" <<END
[ca]
default_ca = tests
[tests]
database = $work/index.txt
new_certs_dir = $work
rand_serial = yes
unique_subject = no
default_md = sha256
policy = policy
email_in_dn = no
[policy]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1, DNS:backend.test
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[other]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1, DNS:backend.test
subjectKeyIdentifier = hash
END

# NAME COMMON-NAME KIND-OF-KEY...: a key of its own, and a request to certify it.
request() {
  name=$1 subject=/CN=$2
  shift 2
  openssl genpkey "$@" -out "$name.key" 2>"$work/log" || { cat "$work/log"; exit 1; }
  openssl req -new -config "$work/openssl.cnf" -key "$name.key" -subj "$subject" -out "$work/$name.csr"
}
ec="-algorithm EC -pkeyopt ec_paramgen_curve:P-256"

# NAME EXTENSIONS WHO-SIGNS...: the certificate.
certify() {
  name=$1 extensions=$2
  shift 2
  openssl ca -batch -notext -config "$work/openssl.cnf" -startdate $from -enddate $to \
    -extensions "$extensions" -in "$work/$name.csr" -out "$name.pem" "$@" 2>"$work/log" || { cat "$work/log"; exit 1; }
}

request ca "Authority of the tests" $ec
certify ca authority -selfsign -keyfile ca.key
request server localhost $ec
certify server server -cert ca.pem -keyfile ca.key
request client "Client of the tests" $ec
certify client client -cert ca.pem -keyfile ca.key
request other localhost $ec
certify other other -selfsign -keyfile other.key
request weak localhost -algorithm RSA -pkeyopt rsa_keygen_bits:512
certify weak other -selfsign -keyfile weak.key
rm ca.key

// A certificate authority that lives as long as the test, and a certificate of it for this machine.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const CONFIG = `[req]
distinguished_name = name
prompt = no
[name]
CN = Test authority
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth
`;

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"];

/** Makes both in `directory`; the authority's file, and key and certificate as `tls` takes them. */
export function certificates(directory) {
  const file = (name) => join(directory, name);
  const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  const config = ["-config", file("openssl.cnf")];
  writeFileSync(file("openssl.cnf"), CONFIG);
  openssl("req", "-x509", ...KEY, file("ca.key"), "-out", file("ca.pem"), "-days", "2",
    "-extensions", "authority", ...config);
  openssl("req", "-new", ...KEY, file("server.key"), "-out", file("server.csr"), "-subj", "/CN=localhost", ...config);
  openssl("x509", "-req", "-in", file("server.csr"), "-CA", file("ca.pem"), "-CAkey", file("ca.key"),
    "-CAcreateserial", "-out", file("server.pem"), "-days", "2", "-extfile", file("openssl.cnf"), "-extensions", "server");
  return { authority: file("ca.pem"), key: readFileSync(file("server.key")), cert: readFileSync(file("server.pem")) };
}

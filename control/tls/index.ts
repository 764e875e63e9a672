// TLS of the control plane: the mesh's CA, servers' certificates, and whom a client believes.
export {
  certificateLife,
  ensureAuthority,
  ensureServerCertificate,
  nextAuthority,
  pemBlocks,
  prepareAuthority,
  promoteAuthority,
  readTrusted,
  type ServerCertificate,
  type ServerCertificateOptions,
  trustedFile,
  writeTrusted,
} from "./authority.js";
export {
  authorityFingerprint,
  fetchAuthority,
  fingerprintOf,
  isFingerprint,
  serverPlace,
  type TrustedAuthorities,
  tlsErrorOf,
  tlsOptions,
} from "./trust.js";

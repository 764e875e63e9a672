// The door of the control plane: records, settings, mesh creation, joining, member sessions, the
// controller and its client.
export { acceptsMesh } from "./accepts.js";
export { type AdminChoice, AdminClient, type AdminOptions } from "./admin.js";
export {
  type BuiltProtocol,
  builtProtocols,
  hasFrames,
  hasPort,
  type PeerProtocol,
  peerProtocols,
} from "./built.js";
export type { AdminView } from "./controller/admins.js";
export type { BucketStatus, ClusterStatus, ServerStatus } from "./controller/cluster-status.js";
export type { ColleagueView } from "./controller/colleagues.js";
export { Controller } from "./controller/controller.js";
export type { Handover } from "./controller/handover.js";
export { readIncident, type StoreIncident, storeReportFile } from "./controller/losses.js";
export type { ControllerOptions } from "./controller/options.js";
export { isJetStreamOff } from "./controller/server-views.js";
export type { StoreView } from "./controller/store-view.js";
export type { TokenOptions, TokenView } from "./controller/tokens.js";
export type { TrustReport } from "./controller/trust.js";
export type { UserChange, UserView } from "./controller/users.js";
export type { LeaseFinding, LeaseView, NodeView, RouteView } from "./controller/views.js";
export { ControlError, type ControlErrorCode, type ControlLog } from "./errors.js";
export { formText, parseForm, WORDS, wordsOf } from "./forms.js";
export {
  adminCredentials,
  type Cluster,
  type ClusterServer,
  type ClusterState,
  type CreateMeshOptions,
  certificateTimes,
  clientUrl,
  clusterName,
  clusterSizes,
  completeMesh,
  createAdminKey,
  createMesh,
  type Ends,
  endWarnings,
  hadStore,
  hostEnds,
  type Lasting,
  loadMesh,
  type Mesh,
  type MeshPlace,
  moveOfflineKeys,
  type NatsClientHelp,
  type NatsServerSettings,
  natsClientHelp,
  natsIncludeText,
  natsServerConfig,
  newClusterSecret,
  offlineKeysHere,
  otherServers,
  ownServer,
  readCluster,
  readPlace,
  readTimes,
  recoverAdmin,
  seedIn,
  serverName,
  setMeshServers,
  tlsBlock,
  unmakeMesh,
  writeCluster,
} from "./founding/index.js";
export { createIdentity, type Identity, loadOrCreateIdentity } from "./identity.js";
export { type JoinOptions, joinMesh, renewMembership } from "./join.js";
export { parseSnapshot, serializeSnapshot } from "./ledger.js";
export { changedNames } from "./lineage.js";
export {
  type EndpointFacts,
  MemberSession,
  type MemberSessionOptions,
  type NodeFacts,
  type PptpUser,
} from "./member/index.js";
export { type Membership, readMembership, writeMembership } from "./membership.js";
export type * from "./records.js";
export { FORMS_MAX, roles } from "./records.js";
export { type AdminRole, adminRoles } from "./roles.js";
export { type Rotatable, type RotationStep, rotatable, rotate } from "./rotation.js";
export { checkSetting, completeConfig, tunnelPortOf } from "./setting-rules.js";
export { defaultConfig, type MeshConfig, type SettingName } from "./settings.js";
export {
  authorityFingerprint,
  ensureServerCertificate,
  type ServerCertificate,
  type ServerCertificateOptions,
  serverPlace,
  type TrustedAuthorities,
} from "./tls/index.js";
export { parseToken, type TokenContents } from "./token.js";
export type { UserSecret } from "./user-secret.js";

// The door of the control plane: records, settings, mesh creation, joining, member sessions, the
// controller and its client.
export { acceptsMesh } from "./accepts.js";
export type { PptpUser } from "./accounts.js";
export { type AdminChoice, AdminClient, type AdminOptions } from "./admin.js";
export {
  type BuiltProtocol,
  builtProtocols,
  hasFrames,
  hasPort,
  type PeerProtocol,
  peerProtocols,
} from "./built.js";
export {
  type Cluster,
  type ClusterServer,
  type ClusterState,
  clientUrl,
  clusterName,
  clusterSizes,
  newClusterSecret,
  otherServers,
  ownServer,
  readCluster,
  serverName,
  writeCluster,
} from "./cluster.js";
export type { AdminView } from "./controller/admins.js";
export { Controller } from "./controller/controller.js";
export type { Handover } from "./controller/handover.js";
export { readIncident, type StoreIncident, storeReportFile } from "./controller/losses.js";
export type { ControllerOptions } from "./controller/options.js";
export { isJetStreamOff } from "./controller/server-views.js";
export type { StoreView } from "./controller/store-view.js";
export type { TokenOptions, TokenView } from "./controller/tokens.js";
export type { UserChange, UserView } from "./controller/users.js";
export type { LeaseFinding, LeaseView, NodeView, RouteView } from "./controller/views.js";
export {
  adminCredentials,
  createAdminKey,
  type MeshPlace,
  readPlace,
  seedIn,
} from "./credentials.js";
export {
  certificateTimes,
  type Ends,
  endWarnings,
  hostEnds,
  type Lasting,
  readTimes,
} from "./ends.js";
export { ControlError, type ControlErrorCode, type ControlLog } from "./errors.js";
export { formText, parseForm, WORDS, wordsOf } from "./forms.js";
export { createIdentity, type Identity, loadOrCreateIdentity } from "./identity.js";
export { type JoinOptions, joinMesh, renewMembership } from "./join.js";
export { parseSnapshot, serializeSnapshot } from "./ledger.js";
export { type Membership, readMembership, writeMembership } from "./membership.js";
export {
  type CreateMeshOptions,
  completeMesh,
  createMesh,
  hadStore,
  loadMesh,
  type Mesh,
  recoverAdmin,
  setMeshServers,
  unmakeMesh,
} from "./mesh.js";
export { moveOfflineKeys, offlineKeysHere } from "./offline-keys.js";
export type * from "./records.js";
export { FORMS_MAX, roles } from "./records.js";
export { type AdminRole, adminRoles } from "./roles.js";
export {
  type NatsClientHelp,
  type NatsServerSettings,
  natsClientHelp,
  natsIncludeText,
  natsServerConfig,
  tlsBlock,
} from "./server-config.js";
export {
  type EndpointFacts,
  MemberSession,
  type MemberSessionOptions,
  type NodeFacts,
} from "./session.js";
export { checkSetting, completeConfig, tunnelPortOf } from "./setting-rules.js";
export { defaultConfig, type MeshConfig, type SettingName } from "./settings.js";
export {
  ensureServerCertificate,
  type ServerCertificate,
  type ServerCertificateOptions,
  serverPlace,
  type TrustedAuthorities,
} from "./tls/index.js";
export { parseToken, type TokenContents } from "./token.js";
export type { UserSecret } from "./user-secret.js";

// The door of founding: a mesh's files and keys, its credentials and servers, a cluster of them.

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
export {
  ADMIN_LASTS_S,
  adminCredentials,
  createAdminKey,
  endIn,
  FIRST_ADMIN,
  grantText,
  isHalfOver,
  renewControllerRights,
  seedIn,
  writeUser,
} from "./credentials.js";
export {
  certificateTimes,
  type Ends,
  endsOf,
  endWarnings,
  hostEnds,
  type Lasting,
  readTimes,
} from "./ends.js";
export {
  type CreateMeshOptions,
  completeMesh,
  createMesh,
  hadStore,
  loadMesh,
  loadSecrets,
  type MeshSecrets,
  recoverAdmin,
  rememberStore,
  renewCredentials,
  setMeshServers,
  unmakeMesh,
} from "./mesh.js";
export { moveOfflineKeys, offlineKeysHere } from "./offline-keys.js";
export { type Mesh, type MeshPlace, placeBlock, placeOf, readPlace } from "./place.js";
export {
  type NatsClientHelp,
  type NatsServerSettings,
  natsClientHelp,
  natsIncludeText,
  natsServerConfig,
  tlsBlock,
} from "./server-config.js";
export { nextSigner, prepareSigner, promoteSigner, readSigners, writeSigners } from "./signers.js";

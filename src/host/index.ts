// The door of the host room: links, addresses, routes, sysctl, nftables and namespaces of Linux, by
// programs that are given argument vectors, never a shell. Every call takes `where`: its namespace.
export {
  type AddressChange,
  addressLines,
  diffAddresses,
  type LinkAddress,
  listAddresses,
  reconcileAddresses,
} from "./addresses.js";
export {
  type AdmissionCounters,
  type AdmissionOptions,
  admissionTable,
  applyAdmission,
  type BareCount,
  readAdmission,
  removeAdmission,
} from "./admission.js";
export { applyCallNat, type CallNat, type CallNatOptions, callNatText } from "./call-nat.js";
export { namespacePath, type RunOptions, run, runJson, type Where } from "./command.js";
export {
  defaultSource,
  findFiltered,
  findPoolConflicts,
  findStrictFilters,
  type Own,
  type PoolConflict,
  suggestUnderlay,
  tunProblem,
  type Underlay,
  underlayCandidates,
  underlayOf,
} from "./detect.js";
export { HostError, type HostErrorCode } from "./errors.js";
export { gatherFacts, type HostFacts } from "./facts.js";
export { replaceFile, writePrivateFile } from "./files.js";
export { type FirewallObstacle, findFirewall, type MeshTraffic } from "./firewall.js";
export { isPlainObject, type JsonObject } from "./json.js";
export {
  applySilence,
  findKernelTunnels,
  type KernelTunnels,
  type RawTraffic,
  removeSilence,
  type SilenceOptions,
  silenceTable,
  silenceText,
} from "./kernel-tunnels.js";
export {
  addVeth,
  checkDeviceName,
  deleteLink,
  findLink,
  ipBatch,
  type Link,
  type LinkSettings,
  linkChanges,
  listLinks,
  setLink,
  type VethOptions,
} from "./links.js";
export { applyMasquerade, type MasqueradeOptions, removeMasquerade } from "./masquerade.js";
export {
  createNamespace,
  deleteNamespace,
  listNamespaces,
  namespaceExists,
  needNamespace,
  runInNamespace,
} from "./namespaces.js";
export { nftTable } from "./nft.js";
export {
  applyPptpFilter,
  type FilteredMesh,
  type PptpFilterOptions,
  pptpFilterTable,
  REFUSED_KINDS,
  type RefusedCounts,
  type RefusedKind,
  readPptpFilter,
  removePptpFilter,
} from "./pptp-filter.js";
export {
  type Address,
  bitsOf,
  canonicalAddress,
  canonicalPrefix,
  containsPrefix,
  type Family,
  formatAddress,
  formatPrefix,
  needAddress,
  needPrefix,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixesOverlap,
  prefixHolding,
} from "./prefix.js";
export { leaveOutQueueing } from "./queue.js";
export { deviceTowards, listRoutes, type Route } from "./route-list.js";
export {
  deleteRoutes,
  diffRoutes,
  MESH_ROUTE_METRIC,
  MESH_ROUTE_PROTOCOL,
  POD_ROUTE_PROTOCOL,
  POOL_ROUTE_METRIC,
  type RouteChange,
  type RouteKind,
  type RouteResult,
  type RouteScope,
  reconcileRoutes,
  routeLines,
  type WantedRoute,
} from "./routes.js";
export {
  enableForwarding,
  readSysctl,
  readSysctls,
  rpFilter,
  type SysctlChange,
  SysctlKeeper,
  writeSysctl,
  writeSysctls,
} from "./sysctl.js";

// Changing the mesh's settings: what is allowed, and what can change while nodes run.
import { isDeepStrictEqual } from "node:util";
import { refuseUnbuilt } from "../built.js";
import { ControlError } from "../errors.js";
import { keyOf } from "../keys.js";
import { checkSetting, completeConfig } from "../setting-rules.js";
import type { MeshConfig, SettingName } from "../settings.js";
import { type Core, configOf, refuseInHoldOff } from "./core.js";

const perNode =
  "it is read when a node's agent starts: set it in that node's file and restart the agent";
const leased = "nodes hold leases out of the pool: remove the nodes first, or make a new mesh";

/** Settings that cannot change under running nodes, and why. */
const notLive: { [name in SettingName]?: string } = {
  clusterPoolIPv4PodCIDR: leased,
  clusterPoolIPv4MaskSize: leased,
  clusterPoolIPv6PodCIDR: leased,
  clusterPoolIPv6MaskSize: leased,
  underlayAddress: perNode,
  underlayInterface: perNode,
  underlayProtocol: perNode,
  workers: perNode,
};

/**
 * Checks and stores one setting. MESHD_BAD_SETTING, MESHD_SETTING_NOT_LIVE: nothing was changed.
 */
export async function changeSetting(core: Core, name: string, value: unknown): Promise<MeshConfig> {
  const setting = checkSetting(name, value);
  refuseUnbuilt(setting.name, setting.value);
  refuseInHoldOff(core);
  const config = await core.store.changeOnce<"config">(keyOf.config(), (before) => {
    const current = before ?? configOf(core.store);
    if (isDeepStrictEqual(current[setting.name], setting.value))
      return before ? undefined : current;
    refuseIfNotLive(core, setting.name);
    return completeConfig({ ...current, [setting.name]: setting.value });
  });
  core.log("setting-changed", { name, value: setting.value });
  return config ?? configOf(core.store);
}

function refuseIfNotLive(core: Core, name: SettingName): void {
  const why = notLive[name];
  if (why === undefined || !isInUse(core, why)) return;
  const what = `${name} cannot change while the mesh runs: ${why}; nothing was changed`;
  throw new ControlError("MESHD_SETTING_NOT_LIVE", what);
}

function isInUse(core: Core, why: string): boolean {
  const { mesh } = core.store.ledgers;
  if (why === leased) return [...mesh.records("leases")].some((lease) => lease.state === "held");
  return [...mesh.records("members")].some((member) => member.state !== "removed");
}

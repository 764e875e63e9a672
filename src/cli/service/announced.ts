// The servers that `meshd up --nats` was given last here: members are to hear of them.
import type { Mesh, ServersRecord } from "../../../control/index.js";
import { readIfThere, writeSecret } from "../files.js";

const announceFile = (mesh: Mesh) => `${mesh.dir}/servers.json`;

/** Members are to hear of these: a list that differs from the last one counts as a newer one. */
export function announce(mesh: Mesh, urls: string[]): void {
  const before = announced(mesh);
  const servers = urls.map((url) => ({ url, routePort: null }));
  if (before?.servers.map(({ url }) => url).join() === urls.join()) return;
  const record: ServersRecord = { generation: (before?.generation ?? 0) + 1, servers };
  writeSecret(announceFile(mesh), `${JSON.stringify(record)}\n`);
}

/** What `up --nats` was given last here. */
export function announced(mesh: Mesh): ServersRecord | undefined {
  const text = readIfThere(announceFile(mesh));
  return text === undefined ? undefined : (JSON.parse(text) as ServersRecord);
}

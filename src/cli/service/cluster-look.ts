// Whether the other servers of a cluster are there: nats-server greets each connection with a line
// that names its cluster.
import { connect } from "node:net";
import { type Cluster, clusterName, type Mesh, otherServers } from "../../../control/index.js";

const greeting_max_ms = 1_500;

/** Hosts of the cluster that do not answer as one of it now. */
export async function missingOthers(mesh: Mesh, cluster: Cluster): Promise<string[]> {
  const wanted = clusterName(mesh);
  const others = otherServers(cluster);
  const names = await Promise.all(others.map(({ host, port }) => clusterAt(host, port)));
  return others.filter((_, index) => names[index] !== wanted).map(({ host }) => host);
}

export async function othersReady(mesh: Mesh, cluster: Cluster): Promise<boolean> {
  return (await missingOthers(mesh, cluster)).length === 0;
}

/** Name of the cluster that the server there says it is of; null: nobody, or none. */
function clusterAt(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    let text = "";
    const end = (name: string | null) => {
      socket.destroy();
      resolve(name);
    };
    socket.setTimeout(greeting_max_ms, () => end(null));
    socket.once("error", () => end(null));
    socket.once("close", () => end(null));
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (text.includes("\r\n") || text.length > 65_536) end(nameIn(text));
    });
  });
}

function nameIn(greeting: string): string | null {
  try {
    const line = greeting.slice(0, greeting.indexOf("\r\n"));
    const { cluster } = JSON.parse(line.replace(/^INFO /, "")) as { cluster?: unknown };
    return typeof cluster === "string" ? cluster : null;
  } catch {
    return null;
  }
}

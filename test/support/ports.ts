// Ports of loopback, of the kernel's choice.
import { createServer, type Server, type Socket } from "node:net";

/** Lets a server listen on a free port; gives the port. */
export function listen(server: Server, host = "127.0.0.1"): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

/** Ends a server's connections and then itself. */
export function cutOff(server: Server, sockets: Iterable<Socket>): Promise<void> {
  return new Promise((resolve) => {
    for (const socket of sockets) socket.destroy();
    server.close(() => resolve());
  });
}

/** Ports that nobody uses now, all different. */
export async function freePorts(host: string, count: number): Promise<number[]> {
  const probes = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(probes.map((probe) => listen(probe, host)));
  await Promise.all(probes.map((probe) => new Promise((done) => probe.close(done))));
  return ports;
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts("127.0.0.1", 1);
  return port;
}

// wireguard-go, without wireguard-tools: its settings go as text over the socket it listens on
// (wireguard.com/xplatform, "userspace configuration protocol").
import { generateKeyPairSync } from "node:crypto";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { daemonKind, type End } from "./daemon.js";
import { describeProgram, programPath, whyMissing } from "./program.js";

const PROGRAM = "wireguard-go";
/** IPv4, UDP, 16 of header and 16 of tag. */
const OVERHEAD = 60;
const ANSWER_PATIENCE_MS = 5000;

/** X25519, in hexadecimal as the protocol wants them. */
export interface Keys {
  secret: string;
  public: string;
}

const hexOf = (base64url: string | undefined) =>
  Buffer.from(base64url ?? "", "base64url").toString("hex");

export function makeKeys(): Keys {
  const jwk = generateKeyPairSync("x25519").privateKey.export({ format: "jwk" });
  return { secret: hexOf(jwk.d), public: hexOf(jwk.x) };
}

/** The request that makes an end know its own key and its one peer; ends with an empty line. */
export function settingsOf(end: End, own: Keys, other: Keys): string {
  const settings = {
    private_key: own.secret,
    listen_port: end.port,
    replace_peers: true,
    public_key: other.public,
    endpoint: `${end.other.address}:${end.other.port}`,
    replace_allowed_ips: true,
    allowed_ip: `${end.other.overlay}/32`,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
  return `set=1\n${lines.join("")}\n`;
}

/** @throws with the number of the error that an answer carries */
export function checkAnswer(answer: string): void {
  const errno = /^errno=(-?\d+)$/m.exec(answer)?.[1];
  if (errno === "0") return;
  throw new Error(`wireguard-go refused its settings: ${errno ?? "no"} errno in its answer`);
}

/** One for all namespaces, so a device's name must be one of a kind. */
const SOCKETS = "/var/run/wireguard";
const OWN_SOCKET = /^peer([0-9a-z]+)b[12]\.sock$/;
const socketOf = ({ device }: End) => join(SOCKETS, `${device}.sock`);

/** Of benches that were killed hard. */
function sweepSockets(): void {
  for (const name of existsSync(SOCKETS) ? readdirSync(SOCKETS) : []) {
    const owner = OWN_SOCKET.exec(name)?.[1];
    if (owner === undefined || existsSync(`/proc/${Number.parseInt(owner, 36)}`)) continue;
    rmSync(join(SOCKETS, name), { force: true });
  }
}

/** One request, one answer. */
function ask(path: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(request));
    let answer = "";
    socket.setEncoding("utf8").setTimeout(ANSWER_PATIENCE_MS, () => {
      socket.destroy(new Error(`${path} does not answer`));
    });
    socket.on("data", (piece: string) => {
      answer += piece;
      if (answer.endsWith("\n\n")) socket.end();
    });
    socket.once("error", reject);
    socket.once("close", () => resolve(answer));
  });
}

/** The device is there a moment before the socket. */
async function askWhenReady(path: string, request: string): Promise<string> {
  for (const end = Date.now() + ANSWER_PATIENCE_MS; ; ) {
    try {
      return await ask(path, request);
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

const keys = [makeKeys(), makeKeys()] as const;

export const wireguard = daemonKind({
  title: "wireguard-go",
  network: 2,
  overhead: OVERHEAD,
  isAvailable: () => whyMissing(PROGRAM),
  version: () => `${describeProgram(PROGRAM, "--version")}; ChaCha20-Poly1305, offloads`,
  prepare: (client, server) => {
    sweepSockets();
    const commandOf = ({ device }: End) => [programPath(PROGRAM), "--foreground", device];
    return [commandOf(client), commandOf(server)];
  },
  configure: async (end) => {
    const [own, other] = end.number === 1 ? keys : ([keys[1], keys[0]] as const);
    checkAnswer(await askWhenReady(socketOf(end), settingsOf(end, own, other)));
  },
  leftovers: (end) => [socketOf(end)],
});

// Real PPTP peers inside a guest: pptp-linux and pppd as a client, pptpd and pppd as a server.
import { until } from "../support/netns.js";
import type { KernelPeer } from "./peer.js";

/** Words of pppd that every end here has: no compression but MPPE, no waiting. */
const PLAIN = ["nobsdcomp", "nodeflate", "novj", "noipv6", "nodefaultroute", "debug"];
/** pptp-linux does not end by itself: pppd ends it after a second instead of five. */
const CHILD_LIMIT = ["child-timeout", "1"];
const LOG = "/var/log/pppd.log";
const REFUSALS = {
  eap: "refuse-eap",
  pap: "refuse-pap",
  chap: "refuse-chap",
  mschap: "refuse-mschap",
  "mschap-v2": "refuse-mschap-v2",
} as const;

export type PppAuthentication = keyof typeof REFUSALS;

/** pppd's words that leave one way of authentication. */
export function only(way: PppAuthentication): string[] {
  return Object.entries(REFUSALS).flatMap(([name, word]) => (name === way ? [] : [word]));
}

/**
 * Options of pptp-linux for a path that loses, reorders and doubles at once: its own buffer (of 300
 * ms) then ends in a loop that takes a CPU and no packets (seen with 1.10.0, also against pptpd).
 */
export const NO_BUFFER = ["--nobuffer"];

export interface Account {
  user: string;
  password: string;
}

export interface Dialled {
  /** Of pppd in the guest. */
  pid: number;
  device: string;
  local: string;
  remote: string;
  mtu: number;
}

/** Thrown with the log of pppd. */
export class PppError extends Error {
  override readonly name = "PppError";
}

async function writeSecrets(guest: KernelPeer, { user, password }: Account): Promise<void> {
  await guest.sh(`umask 077; echo '"${user}" * "${password}" *' >/etc/ppp/chap-secrets
    cp /etc/ppp/chap-secrets /etc/ppp/pap-secrets\n`);
}

export function pppLog(guest: KernelPeer): Promise<string> {
  return guest.exec(["sh", "-c", `cat ${LOG} 2>/dev/null || true`]);
}

async function linkOf(guest: KernelPeer, pid: number): Promise<Dialled> {
  const device = (await guest.exec(["sh", "-c", `cat /var/run/ppp-dial.pid | tail -1`])).trim();
  const shown = await guest.exec(["ip", "-o", "address", "show", "dev", device]);
  const link = await guest.exec(["ip", "-o", "link", "show", "dev", device]);
  const [, local = "", remote = ""] = /inet (\S+) peer ([\d.]+)/.exec(shown) ?? [];
  return { pid, device, local, remote, mtu: Number(/mtu (\d+)/.exec(link)?.[1]) };
}

/**
 * Dials: pptp-linux with pppd behind it.
 * @param words of pppd, such as require-mppe-128
 * @param client options of pptp-linux, such as NO_BUFFER
 * @throws {PppError} when the link does not come up, with pppd's log
 */
export async function dialPptp(
  guest: KernelPeer,
  server: string,
  account: Account,
  words: readonly string[],
  client: readonly string[] = [],
): Promise<Dialled> {
  return dialBy(guest, ["pptp", server, "--nolaunchpppd", ...client], account, words);
}

/** Dials by a line of TCP: pppd alone, which knows nothing of PPTP. */
export function dialLine(
  guest: KernelPeer,
  place: string,
  account: Account,
  words: readonly string[],
): Promise<Dialled> {
  return dialBy(guest, ["socat", "-", `TCP:${place}`], account, words);
}

/** pppd with a program as its line. */
async function dialBy(
  guest: KernelPeer,
  program: readonly string[],
  account: Account,
  words: readonly string[],
): Promise<Dialled> {
  await writeSecrets(guest, account);
  await guest.sh(`rm -f ${LOG} /var/run/ppp-dial.pid\n`);
  const pty = ["pty", program.join(" "), "linkname", "dial"];
  const own = ["user", account.user, "remotename", "server", "noauth", ...PLAIN, ...CHILD_LIMIT];
  const argv = ["pppd", ...pty, ...own, ...words, "logfile", LOG, "updetach"];
  const done = await guest.tryExec(argv, { timeout_ms: 45_000 });
  if (done.code !== 0) throw new PppError(`pppd ended with ${done.code}:\n${await pppLog(guest)}`);
  const pid = Number((await guest.exec(["head", "-1", "/var/run/ppp-dial.pid"])).trim());
  return linkOf(guest, pid);
}

/** Ends a dialled link and waits until it is gone. */
export async function hangUp(guest: KernelPeer, { pid }: Dialled): Promise<void> {
  await guest.tryExec(["kill", `${pid}`]);
  await until("pppd is gone", async () => (await guest.tryExec(["kill", "-0", `${pid}`])).code > 0);
}

export interface ServerOptions {
  account: Account;
  local: string;
  /** As pptpd.conf has it: "10.96.0.10-20". */
  remote: string;
  words: readonly string[];
}

/** Starts pptpd, which starts a pppd for each call. */
export async function servePptp(guest: KernelPeer, options: ServerOptions): Promise<number> {
  await writeSecrets(guest, options.account);
  const ppp = ["name server", "auth", ...PLAIN, ...options.words, `logfile ${LOG}`];
  const conf = ["option /etc/ppp/options.pptpd", `localip ${options.local}`];
  conf.push(`remoteip ${options.remote}`);
  await guest.exec(["sh", "-c", "cat >/etc/ppp/options.pptpd"], { input: `${ppp.join("\n")}\n` });
  await guest.exec(["sh", "-c", "cat >/etc/pptpd.conf"], { input: `${conf.join("\n")}\n` });
  await guest.sh(`rm -f ${LOG}\n`);
  const pid = await guest.spawn(["pptpd", "-f", "-c", "/etc/pptpd.conf"]);
  await until("pptpd listens", async () => {
    return (await guest.exec(["ss", "-ltnH"])).includes(":1723 ");
  });
  return pid;
}

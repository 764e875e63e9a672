// Experiment: what TUN_F_UDP_TUNNEL_GSO is worth, beside UDP_SEGMENT and kernel VXLAN (ADR 0014).
//   node dist/bench/experiments/tunnel-gso.js [--rounds N] [--seconds N]       root, 4 minutes
import type { ChildProcess } from "node:child_process";
import { parseArgs } from "node:util";
import { iperf } from "../../test/support/iperf.js";
import {
  createNamespace,
  joinByVeth,
  runIn,
  runSync,
  spawnIn,
  until,
} from "../../test/support/netns.js";
import { congestionControl } from "../measure/tcp.js";
import { describeMachine, formatMachine } from "../support/machine.js";
import { nativeProgram } from "../support/native.js";
import { busySeconds, cpuSeconds } from "../support/processes.js";
import { summarize } from "../support/statistics.js";
import { formatNumber, formatTable } from "../support/table.js";

const MAC = "02:77:00:00:00:01";
const SETTINGS = ["veth", "wire", "no checksums"] as const;
const SENDERS = ["ready", "cut", "whole", "whole, redirected"] as const;
const TUNNELS = ["cut", "whole", "vxlan"] as const;
type Setting = (typeof SETTINGS)[number];

/** One of the two hosts; `forwarding` and `redirecting` are its TAPs. */
interface Host {
  namespace: string;
  underlay: string;
  overlay: string;
  vxlan: string;
}

const program = (name: string) => nativeProgram(`../experiments/${name}`);
const figures = new Map<string, number[]>();

function note(row: string, column: string, value: number): void {
  const key = `${row}|${column}`;
  figures.set(key, [...(figures.get(key) ?? []), value]);
}

function makeHost(index: number): Host {
  const namespace = createNamespace("gso");
  return {
    namespace,
    underlay: `10.7.0.${index}`,
    overlay: `10.9.${index}.1`,
    vxlan: `10.8.0.${index}`,
  };
}

/** The devices of both tunnels, and the kernel's own beside them. */
function setUp(host: Host, other: Host): void {
  const run = (line: string) => runSync(host.namespace, line.split(" "));
  for (const tap of ["forwarding", "redirecting"]) {
    run(`ip tuntap add ${tap} mode tap vnet_hdr`);
    run(`ip link set ${tap} address ${MAC} up`);
    run(`sysctl -qw net.ipv4.conf.${tap}.accept_local=1 net.ipv4.conf.${tap}.rp_filter=0`);
  }
  run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0");
  run("tc qdisc add dev redirecting clsact");
  const everything = ["bpf", "bytecode", "1,6 0 0 4294967295"];
  const redirect = ["action", "mirred", "egress", "redirect", "dev", "v0"];
  const filter = ["tc", "filter", "add", "dev", "redirecting", "ingress"];
  runSync(host.namespace, [...filter, ...everything, ...redirect]);
  run("ip tuntap add t0 mode tun vnet_hdr");
  run("ip link set t0 mtu 1450 txqueuelen 4096 gso_max_size 60500 up");
  run(`ip address add ${host.overlay} peer ${other.overlay} dev t0`);
  run(`ip link add vx0 type vxlan id 7 remote ${other.underlay} dstport 8472 dev v0 udpcsum`);
  run(`ip address add ${host.vxlan}/24 dev vx0`);
  run("ip link set vx0 up");
}

/**
 * veth: as it comes. wire: without UDP and tunnel segmentation, and with GRO, which a veth does
 * only where TSO is off. no checksums: without their offload too, so that all arrive finished.
 */
function choose(setting: Setting, hosts: readonly Host[]): void {
  const veth = setting === "veth" ? "on" : "off";
  const wire = setting === "veth" ? "off" : "on";
  const cuts = ["tx-udp-segmentation", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"];
  for (const { namespace } of hosts) {
    const features = (words: string[]) => runSync(namespace, ["ethtool", "-K", "v0", ...words]);
    features(["tx", setting === SETTINGS[2] ? "off" : "on"]);
    features(["gro", wire, ...["tso", ...cuts].flatMap((name) => [name, veth])]);
  }
}

/** CPU of a sender whose packets nobody takes: the other host drops them as not its own. */
async function measureSender(setting: Setting, way: string, host: Host, mac: string) {
  const [mode = "", redirected] = way.split(", ");
  const tap = redirected === undefined ? ["forwarding", MAC] : ["redirecting", mac];
  const argv = [program("tunnel-gso"), "send", mode, host.underlay, "10.7.0.3", "0.7", ...tap];
  const { stdout } = await runIn(host.namespace, argv);
  note(`${setting}: ${way}`, "CPU s/GB", Number(stdout.split(" ")[0]));
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGKILL");
  await ended;
}

async function startTunnels(mode: string, hosts: readonly [Host, Host]): Promise<ChildProcess[]> {
  const [client, server] = hosts;
  const children = [[client, server] as const, [server, client] as const].map(([own, other]) => {
    const ends = [own.underlay, other.underlay];
    const argv = [program("tunnel-gso-proxy"), mode, "t0", ...ends, "forwarding", MAC];
    return spawnIn(own.namespace, argv);
  });
  const ping = ["ping", "-n", "-c", "1", "-W", "1", server.overlay];
  await until(
    "the tunnel carries a ping",
    async () => (await runIn(client.namespace, ping)).code === 0,
  );
  return children;
}

async function measureTunnel(
  setting: Setting,
  mode: string,
  streams: number,
  seconds: number,
  hosts: readonly [Host, Host],
): Promise<void> {
  const [client, server] = hosts;
  const row = `${setting}: ${mode}, TCP ${streams}`;
  const children = mode === "vxlan" ? [] : await startTunnels(mode, hosts);
  const pids = children.map(({ pid }) => pid as number);
  const before = { machine: busySeconds(), each: pids.map((pid) => cpuSeconds([pid])) };
  const got = await iperf({
    server: server.namespace,
    client: client.namespace,
    address: mode === "vxlan" ? server.vxlan : server.overlay,
    argv: ["-t", `${seconds}`, "-P", `${streams}`, ...congestionControl()],
  });
  note(row, "Gbit/s", got.bitsPerSecond / 1e9);
  for (const [index, pid] of pids.entries()) {
    const used = cpuSeconds([pid]) - (before.each[index] as number);
    note(row, index === 0 ? "sender s/GB" : "receiver s/GB", used / (got.bytes / 1e9));
  }
  note(row, "machine s/GB", (busySeconds() - before.machine) / (got.bytes / 1e9));
  for (const child of children) await end(child);
}

/** What one read of a UDP socket gives, with UDP_GRO and without. */
async function lookAtArrivals(setting: Setting, hosts: readonly [Host, Host]): Promise<void> {
  const [client, server] = hosts;
  for (const way of ["cut", "whole"]) {
    for (const kind of ["gro", "plain"]) {
      const look = [program("tunnel-gso"), "look", server.underlay, kind, "1.8"];
      const looking = runIn(server.namespace, look);
      const ends = [client.underlay, server.underlay, "0.05", "forwarding", MAC];
      await runIn(client.namespace, [program("tunnel-gso"), "send", way, ...ends]);
      const { stdout } = await looking;
      process.stdout.write(`${setting}: ${way}, ${kind} socket: ${stdout}`);
    }
  }
}

function printFigures(): void {
  const columns = [...new Set([...figures.keys()].map((key) => key.split("|")[1] as string))];
  const rows = [...new Set([...figures.keys()].map((key) => key.split("|")[0] as string))];
  const cell = (row: string, column: string) => {
    const values = figures.get(`${row}|${column}`);
    if (values === undefined) return "";
    const { median, min, max } = summarize(values);
    return `${formatNumber(median)} (${formatNumber(min)}-${formatNumber(max)})`;
  };
  const lines = rows.map((row) => [row, ...columns.map((column) => cell(row, column))]);
  process.stdout.write(`${formatTable(["median (least-most)", ...columns], lines)}\n`);
}

async function main(): Promise<void> {
  const option = { type: "string" } as const;
  const { values } = parseArgs({ options: { rounds: option, seconds: option } });
  const seconds = Number(values.seconds ?? "2");
  process.stdout.write(`${formatMachine(describeMachine())}\n`);
  const hosts = [makeHost(1), makeHost(2)] as const;
  const [client, server] = hosts;
  const at = (host: Host) => {
    const addresses = [`${host.underlay}/24`];
    return { namespace: host.namespace, device: "v0", addresses };
  };
  joinByVeth(at(client), at(server));
  setUp(client, server);
  setUp(server, client);
  const shown = runSync(server.namespace, ["ip", "-o", "link", "show", "v0"]);
  const link = /link\/ether (\S+)/.exec(shown)?.[1] ?? "";
  const nobody = ["ip", "neighbour", "add", "10.7.0.3", "lladdr", link, "dev", "v0"];
  runSync(client.namespace, nobody);
  runSync(server.namespace, ["sysctl", "-qw", "net.ipv4.conf.v0.forwarding=0"]);
  process.stdout.write(runSync(client.namespace, [program("tunnel-gso"), "probe"]));
  for (const setting of SETTINGS) {
    choose(setting, hosts);
    await lookAtArrivals(setting, hosts);
  }
  for (let round = 0; round < Number(values.rounds ?? "3"); round++) {
    for (const setting of SETTINGS) {
      choose(setting, hosts);
      for (const way of SENDERS) await measureSender(setting, way, client, link);
      for (const streams of [1, 4]) {
        for (const mode of TUNNELS) await measureTunnel(setting, mode, streams, seconds, hosts);
      }
    }
  }
  printFigures();
}

await main();

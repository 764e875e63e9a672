// Facts of the host for a sysdump: what its kernel, network and firewall are like now.
import { cpus, freemem, hostname, loadavg, networkInterfaces, release, totalmem } from "node:os";
import type { Collector } from "./collector.js";

const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  "uname.txt": ["uname", "-a"],
  "links.txt": ["ip", "-d", "-s", "link"],
  "addresses.txt": ["ip", "address"],
  "routes4.txt": ["ip", "-4", "route", "show", "table", "all"],
  "routes6.txt": ["ip", "-6", "route", "show", "table", "all"],
  "rules4.txt": ["ip", "-4", "rule"],
  "rules6.txt": ["ip", "-6", "rule"],
  "neighbours.txt": ["ip", "neigh"],
  "nft.txt": ["nft", "list", "ruleset"],
  "sockets.txt": ["ss", "-anup"],
  "listeners.txt": ["ss", "-lntp"],
  "raw-sockets.txt": ["ss", "-anwp"],
  "socket-summary.txt": ["ss", "-s"],
  "qdisc.txt": ["tc", "-s", "qdisc"],
  "sysctl.txt": ["sysctl", "-a", "-r", "^net\\.(core|ipv4|ipv6|netfilter)\\."],
  // Without arguments: they may hold a token.
  "processes.txt": ["ps", "-eo", "pid,ppid,lstart,etime,rss,pcpu,nlwp,stat,comm"],
};

const FILES: Readonly<Record<string, string>> = {
  "os-release.txt": "/etc/os-release",
  "cpuinfo.txt": "/proc/cpuinfo",
  "meminfo.txt": "/proc/meminfo",
  "uptime.txt": "/proc/uptime",
  "modules.txt": "/proc/modules",
  "interrupts.txt": "/proc/interrupts",
  "softnet.txt": "/proc/net/softnet_stat",
  "snmp.txt": "/proc/net/snmp",
  "snmp6.txt": "/proc/net/snmp6",
  "netstat.txt": "/proc/net/netstat",
  "net-dev.txt": "/proc/net/dev",
};

export async function collectHost(collector: Collector): Promise<void> {
  collector.addJson("host/summary.json", {
    hostname: hostname(),
    kernel: release(),
    cpus: cpus().map(({ model, speed }) => ({ model, speed })),
    memory: { total: totalmem(), free: freemem() },
    load: loadavg(),
    interfaces: networkInterfaces(),
  });
  const programs = Object.entries(PROGRAMS).map(([name, argv]) =>
    collector.program(`host/${name}`, argv),
  );
  const files = Object.entries(FILES).map(([name, path]) => collector.file(`host/${name}`, path));
  await Promise.all([...programs, ...files]);
}

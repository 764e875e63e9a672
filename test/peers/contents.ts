// What the guest's image is made of: Debian packages, programs, kernel modules. All of it is part
// of the image's key: a change here makes another image.

/**
 * Its dependency names the kernel. The generic one: Debian's cloud flavour has no ppp, pptp and
 * mppe, and user-mode Linux has no wireguard.
 */
export const KERNEL_PACKAGE = "linux-image-amd64";

/** Library packages are added by apt's own resolver. */
export const PACKAGES = [
  ...["busybox-static", "dash", "iproute2", "kmod", "perl-base", "netbase", "xz-utils"],
  ...["iputils-ping", "iperf3", "tcpdump", "ethtool", "socat", "conntrack", "nftables"],
  ...["ppp", "pptp-linux", "pptpd", "wireguard-tools"],
];

/**
 * kmod rather than busybox's modprobe: the kernel loads by alias (rtnl-link-geneve). dash as
 * /bin/sh: the shell of Debian's busybox prefers its own applets, whose `ip` knows no tunnels.
 */
export const PROGRAMS = [
  ...["/bin/busybox", "/bin/dash", "/bin/ip", "/bin/ss", "/sbin/bridge", "/sbin/tc", "/bin/kmod"],
  ...["/usr/bin/perl", "/usr/sbin/pppd", "/usr/sbin/chat", "/usr/sbin/pppstats"],
  ...["/usr/sbin/pptp", "/usr/sbin/pptpd", "/usr/sbin/pptpctrl", "/usr/bin/wg"],
  ...["/usr/bin/iperf3", "/bin/ping", "/usr/bin/tcpdump", "/usr/sbin/nft", "/sbin/ethtool"],
  ...["/usr/sbin/conntrack", "/usr/bin/socat"],
];

const LIBRARIES = "/usr/lib/x86_64-linux-gnu";

/** Whole trees and data files. ossl-modules: legacy.so has MD4 and DES for MS-CHAP. */
export const TREES = [
  ...[`${LIBRARIES}/perl-base`, `${LIBRARIES}/ossl-modules`, "/usr/lib/pppd", "/usr/lib/pptpd"],
  ...["/etc/protocols", "/etc/services", "/etc/ethertypes"],
];

/**
 * Folders of kernel modules, whole. All of crypto: algorithms are asked for by name at run time,
 * and no dependency shows it.
 */
export const MODULE_FOLDERS = [
  ...["net/ipv4", "net/ipv6", "net/netfilter", "net/bridge", "net/sched", "net/xfrm", "net/8021q"],
  ...["net/802", "net/llc", "net/l2tp", "net/openvswitch", "net/core", "net/mpls", "net/nsh"],
  ...["net/key", "net/psample", "net/ife", "net/packet", "crypto", "drivers/net/vxlan"],
  ...["drivers/net/wireguard", "drivers/net/ppp", "drivers/net/bonding", "drivers/net/ipvlan"],
  "drivers/virtio",
];

/** Single modules; what they depend on comes along. */
export const MODULES = [
  ...["geneve", "tun", "tap", "veth", "dummy", "ifb", "vrf", "macsec", "macvlan", "macvtap"],
  ...["gtp", "nlmon", "virtio_net", "virtio_console", "virtio-rng", "virtio_pci", "net_failover"],
  ...["libarc4", "crc32c-intel"],
];

/** Modules of the folders above that nobody needs here. */
export const LEFT_OUT = /\/(ipvs|ipset|ebt_|ebtable|tcrypt|async_tx)/;

/** Without one of these there is no image. */
export const MODULES_NEEDED = [
  ...["vxlan", "geneve", "ipip", "ip_gre", "gre", "ip6_gre", "sit", "ip6_tunnel", "tunnel4"],
  ...["udp_tunnel", "ip6_udp_tunnel", "fou", "wireguard", "ppp_generic", "ppp_async"],
  ...["ppp_synctty", "ppp_mppe", "pptp", "libarc4", "nf_conntrack", "nf_nat"],
  ...["nf_conntrack_pptp", "nf_nat_pptp", "iptable_nat", "nf_tables", "bridge", "veth", "tun"],
  ...["virtio_net", "virtio_console", "virtio_pci"],
];

/** Files of the guest's own /etc. */
export const CONFIGURATION: Readonly<Record<string, string>> = {
  "/etc/passwd": [
    "root:x:0:0:root:/root:/bin/sh",
    "tcpdump:x:100:100::/:/bin/false",
    "nobody:x:65534:65534::/:/bin/false",
    "",
  ].join("\n"),
  "/etc/group": "root:x:0:\ntcpdump:x:100:\ndip:x:30:\nnogroup:x:65534:\n",
  "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
  "/etc/nsswitch.conf": ["hosts", "passwd", "group", "protocols", "services"]
    .map((name) => `${name}: files\n`)
    .join(""),
  "/etc/ppp/options": "",
  "/etc/ppp/chap-secrets": "",
};

/** Empty folders that the guest's start mounts or writes into. */
export const FOLDERS = [
  ...["proc", "sys", "dev", "run", "tmp", "root", "var/log/kp", "var/run", "var/lock"],
  ...["etc/ppp/peers", "mnt", "bin", "sbin", "usr/bin", "usr/sbin"],
];

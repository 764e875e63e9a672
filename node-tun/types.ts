// Shapes of what goes in and comes out; the addon's plain-number interface is in binding.ts.

/** What a TUN or TAP queue shall be. */
export interface TunOptions {
  /** Device name, at most 15 bytes; "%d" in it lets the kernel choose a number. */
  name: string;
  /** Default "tun": IP packets. "tap": Ethernet frames. */
  kind?: "tun" | "tap";
  /** Several queues may be open on the device; every opener must say so. */
  multiQueue?: boolean;
  /** Every packet begins with a 10-byte virtio_net_hdr. */
  vnetHeader?: boolean;
  /** Ask for checksum and segmentation offloads; needs vnetHeader. See TunQueue.offloads. */
  offloads?: boolean;
  /** The device outlives its queues (true) or not (false); absent leaves it as it is. */
  persist?: boolean;
  /** Fail with EBUSY when the device already exists. */
  exclusive?: boolean;
}

/** What the kernel may hand over: unfinished checksums and super-packets of these kinds. */
export interface TunOffloads {
  checksum: boolean;
  tso4: boolean;
  tso6: boolean;
  ecn: boolean;
  uso4: boolean;
  uso6: boolean;
}

/** An open queue: non-blocking, closed on exec. */
export interface TunQueue {
  fd: number;
  /** The name the kernel gave. */
  name: string;
  kind: "tun" | "tap";
  multiQueue: boolean;
  vnetHeader: boolean;
  /** What was granted. */
  offloads: TunOffloads;
}

/** What a UDP socket shall be. */
export interface UdpOptions {
  family: 4 | 6;
  /** Address to bind, of the family; "0.0.0.0" or "::" for all; "fe80::1%eth0" with a scope. */
  address: string;
  /** 0 lets the kernel choose. */
  port: number;
  /** SO_REUSEPORT; set after bind where a send-only socket's port is the kernel's choice. */
  reusePort?: boolean;
  /** false: a send-only socket, everything that arrives is dropped by a filter. Default true. */
  receive?: boolean;
  /** Report whether UDP_SEGMENT works (a descriptor's SEGMENT asks for it in writes). */
  segmentation?: boolean;
  /** UDP_GRO: the kernel hands over trains of equal segments. */
  receiveOffload?: boolean;
  /** Bytes; above the machine's limit where CAP_NET_ADMIN allows it. */
  sendBuffer?: number;
  receiveBuffer?: number;
  /** Bind an address that no interface has (yet). */
  freebind?: boolean;
  /** What is sent may be fragmented: by this host, and over IPv4 on the way. Default false. */
  fragments?: boolean;
  /** Only this network device. */
  device?: string;
}

/**
 * An open UDP socket: non-blocking, don't-fragment set unless asked otherwise, TOS and destination
 * with every packet.
 */
export interface UdpSocket {
  fd: number;
  address: string;
  port: number;
  segmentation: boolean;
  receiveOffload: boolean;
  /** Bytes, in the measure of the options (the kernel's own number is twice that). */
  sendBuffer: number;
  receiveBuffer: number;
}

/** The checksums of a UDP socket's datagrams. */
export interface UdpChecksums {
  /** What is sent has one; else it is zero. */
  send: boolean;
  /** IPv6: what comes with a zero checksum is taken (RFC 6935). */
  zeroes: boolean;
}

/** What a raw IP socket shall be. Reads give IPv4 packets with their header, IPv6 without. */
export interface RawOptions {
  family: 4 | 6;
  /** IP protocol number, 1 to 254. */
  protocol: number;
  /** Local address to bind; default all. */
  address?: string;
  /** false: a send-only socket, everything that arrives is dropped by a filter. Default true. */
  receive?: boolean;
  /** What is sent may be fragmented: by this host, and over IPv4 on the way. Default false. */
  fragments?: boolean;
  sendBuffer?: number;
  receiveBuffer?: number;
  /**
   * Of `count` sockets this is number `index`: each packet reaches one of them, chosen by outer
   * source and inner addresses (protocols 4, 41, 47), by call id (GRE version 1), else by source.
   */
  share?: { index: number; count: number };
}

/** Whose packets a raw socket takes. */
export interface RawFilter extends Pick<RawOptions, "family" | "protocol" | "share"> {
  /** Outer source addresses, one behind the other: 4 bytes each, IPv6 16. Left out: all. */
  sources?: Uint8Array;
  /** One in so many packets of others passes all the same, by chance; 0 (default): none does. */
  sample?: number;
}

/** What came with passed descriptors. */
export interface DescriptorMessage {
  /** Empty when the other end has closed. */
  fds: number[];
  data: Uint8Array;
}

/** Which queue or socket gets what; both count in the order they were opened. */
export interface SteeringOrder {
  /**
   * Number i is for packets of CPU cpus[i]; of other CPUs: by their number. Without CPUs all flows
   * are spread over the `busy`, and each stays where it is.
   */
  cpus: readonly number[];
  /** So many further ones are for flows that have many packets or bytes, by flow. */
  busy: number;
  /** Of openStamps. */
  stamps: number;
  /** Of openFlows: the same for device and sockets, so that both directions are one flow. */
  flows: number;
  /** Sockets: bytes of a datagram before the inner IP packet, as 22 for VXLAN; default 0. */
  packetAt?: number;
  /** Sockets: what comes is Geneve, whose header says where the inner IP packet begins. */
  geneve?: boolean;
}

/** A socket that load comes to. */
export interface LoadListenOptions {
  family: 4 | 6;
  /** UDP instead of TCP. */
  datagrams: boolean;
  address: string;
  /** Default 0: the kernel's choice. */
  port?: number;
}

export interface LoadListener {
  fd: number;
  address: string;
  port: number;
}

/** Where load goes. */
export interface LoadConnection {
  family: 4 | 6;
  datagrams: boolean;
  /** Own address. */
  source: string;
  address: string;
  port: number;
  timeout_us: number;
  /** TCP's congestion control, such as "cubic"; default: the host's. */
  congestion?: string;
}

/** Times are CLOCK_MONOTONIC, in microseconds; 0 when nothing came. */
export interface ReceivedStream {
  bytes: number;
  first_us: number;
  last_us: number;
  /** The other side has closed. */
  ended: boolean;
}

export interface ReceivedDatagrams {
  packets: number;
  bytes: number;
  foreign: number;
  first_us: number;
  last_us: number;
}

export interface PingOptions {
  family: 4 | 6;
  source: string;
  address: string;
  /** Of these requests, 16 bits. */
  identifier: number;
  interval_us: number;
  /** Requests that are due later are not sent. */
  timeout_us: number;
}

/** Both sides of one thread: a TUN queue and UDP sockets. */
export interface Exchange {
  /**
   * Waits until a side is ready (unless READY says that one may hold more), then reads a batch of
   * each such side. Gives bits: the sides that are empty behind what was read, and BIT_WAKE.
   */
  receive: () => number;
  /** Writes the batches of both outputs. */
  send: () => void;
}

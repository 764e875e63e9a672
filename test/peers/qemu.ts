// The command line that boots a guest, and what is known of booting one fast.
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Image } from "./image.js";

export const QEMU = "qemu-system-x86_64";
/** One starts Linux 0.6 s sooner than SeaBIOS where the CPU is emulated. */
const QBOOT = "/usr/share/qemu/qboot.rom";

/**
 * All offloads off, so that every frame on the TAP is complete: what a wire carries. With them TCP
 * would come with unfinished checksums and in super-frames.
 */
const WIRE_TRUE = [
  ...["csum", "guest_csum", "gso", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"],
  ...["host_tso4", "host_tso6", "host_ecn", "host_ufo"],
].map((feature) => `${feature}=off`);

/**
 * What Debian's kernel does at boot that only costs time here. ramfs: a tmpfs may use half of the
 * memory only, which the tree nearly fills.
 */
const FAST = [
  ...["rootfstype=ramfs", "nokaslr", "mitigations=off", "init_on_alloc=0", "cryptomgr.notests"],
  ...["lsm=capability", "audit=0", "rcupdate.rcu_expedited=1"],
];

export type Accelerator = "kvm" | "tcg";

export interface Machine {
  name: string;
  image: Image;
  folder: string;
  macs: readonly string[];
  ports: readonly string[];
  memory_mb: number;
  life_s: number;
}

/**
 * KVM only where the CPU has it: on some virtual machines /dev/kvm opens and yet cannot run an
 * unmodified kernel.
 */
export function bestAccelerator(): Accelerator {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    return "tcg";
  }
  return /\b(vmx|svm)\b/.test(readFileSync("/proc/cpuinfo", "utf8")) ? "kvm" : "tcg";
}

/**
 * For emulation a plain CPU is the fastest: with "max" the kernel takes SSSE3 and AVX code that is
 * slow to emulate. rdrand: entropy from the first moment on. "q35": under "microvm", which has no
 * HPET, the TSC's calibration hangs in one boot of three; "pc" costs 0.2 s more a card.
 */
function processor(accelerator: Accelerator): string[] {
  const emulated = ["-accel", "tcg,thread=multi,tb-size=128", "-cpu", "qemu64,+rdrand"];
  const own = accelerator === "kvm" ? ["-accel", "kvm", "-cpu", "host"] : emulated;
  return [...own, "-machine", "q35,usb=off,vmport=off", "-smp", "1"];
}

function kernel({ image, name, ports, life_s }: Machine): string[] {
  const own = [`kp.name=${name}`, `kp.ports=${ports.length}`, `kp.life=${life_s}`];
  const words = [
    "console=ttyS0",
    "quiet",
    "loglevel=4",
    "panic=-1",
    ...FAST,
    "rdinit=/init",
    ...own,
  ];
  return ["-kernel", image.kernel, "-initrd", image.tree, "-append", words.join(" ")];
}

/** `@FD0@` is the descriptor of the first card's TAP, which the launcher puts there. */
function cards(macs: readonly string[]): string[] {
  return macs.flatMap((mac, index) => [
    ...["-netdev", `tap,id=n${index},fd=@FD${index}@`],
    "-device",
    [`virtio-net-pci,netdev=n${index},mac=${mac},romfile=`, ...WIRE_TRUE].join(","),
  ]);
}

function control(ports: readonly string[]): string[] {
  const each = ports.flatMap((path, index) => [
    ...["-chardev", `socket,id=c${index + 1},path=${path},server=on,wait=off`],
    ...["-device", `virtserialport,chardev=c${index + 1},nr=${index + 1},name=kpeer.${index + 1}`],
  ]);
  return ["-device", `virtio-serial-pci,max_ports=${ports.length + 1}`, ...each];
}

/** The argv of qemu. */
export function commandLine(machine: Machine, accelerator: Accelerator): string[] {
  const bare = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
  return [
    ...[QEMU, "-name", machine.name, ...bare, "-m", `${machine.memory_mb}`],
    ...processor(accelerator),
    ...(existsSync(QBOOT) ? ["-bios", QBOOT] : []),
    ...kernel(machine),
    ...["-serial", `file:${join(machine.folder, "console")}`],
    ...control(machine.ports),
    ...cards(machine.macs),
  ];
}

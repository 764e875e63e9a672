// Sends packets by a raw socket, from a namespace:
//   raw-send FAMILY PROTOCOL SOURCE DESTINATION [FILE]
// Each line of the input, or of the file, is a packet behind the outer IP header, in hex.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { descriptorLayout, openRaw, writeRawBatch } from "node-tun";
import { addressBytes, parseAddress } from "../../src/datapath/address.js";

const BATCH = 32;
const PAUSE_MS = 2;
const SLOT = 2048;
const SLOTS = 4096;
const {
  D_ADDRESS = 0,
  D_LENGTH = 0,
  D_FAMILY = 0,
  D_PEER = 0,
  DESCRIPTOR_SIZE = 0,
} = descriptorLayout;

const [family, protocol, address = "", destination = "", file] = process.argv.slice(2);
const packets = readFileSync(file ?? 0, "utf8")
  .split("\n")
  .filter(Boolean);
const peer = parseAddress(destination);
if (peer === undefined) throw new Error(`${destination} is no address`);
const { fd } = openRaw({
  ...{ family: family === "6" ? 6 : 4, protocol: Number(protocol), address },
  receive: false,
});
const memory = new Uint8Array(SLOTS + BATCH * SLOT);
const view = new DataView(memory.buffer);
for (let done = 0; done < packets.length; done += BATCH) {
  const part = packets.slice(done, done + BATCH).map((hex) => Buffer.from(hex, "hex"));
  for (const [i, bytes] of part.entries()) {
    const at = i * DESCRIPTOR_SIZE;
    memory.fill(0, at, at + DESCRIPTOR_SIZE);
    memory.set(bytes, SLOTS + i * SLOT);
    view.setUint32(at + D_ADDRESS, SLOTS + i * SLOT, true);
    view.setUint32(at + D_LENGTH, bytes.length, true);
    view.setUint8(at + D_FAMILY, peer.family);
    memory.set(addressBytes(peer), at + D_PEER);
  }
  const sent = writeRawBatch(new Int32Array([fd]), memory, 0, part.length);
  if (sent !== part.length) throw new Error(`${sent} of ${part.length} packets left`);
  await sleep(PAUSE_MS);
}

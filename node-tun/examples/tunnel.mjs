// A tunnel in twenty lines, without keys: node tunnel.mjs <device> <own address> <peer> <port>
import * as tun from "node-tun";

const [name, address, peer, port] = process.argv.slice(2);
const [COUNT, SLOT, AT, D] = [64, 2048, 64 * 2048, tun.descriptorLayout];
const memory = new Uint8Array(AT + COUNT * D.DESCRIPTOR_SIZE);
const view = new DataView(memory.buffer);
const descriptors = Array.from({ length: COUNT }, (_, i) => AT + i * D.DESCRIPTOR_SIZE);
for (const [i, at] of descriptors.entries()) {
  view.setUint32(at + D.D_ADDRESS, i * SLOT, true);
  view.setUint32(at + D.D_CAPACITY, SLOT, true);
}

const [queue, poller] = [tun.openTun({ name }), tun.openPoller()];
const socket = tun.openUdp({ family: 4, address, port: Number(port) });
for (const { fd } of [queue, socket]) tun.pollerAdd(poller, fd, fd);
console.log(`${queue.name} is open: give it an address and set it up`);
while (tun.pollerWait(poller, new Uint32Array(2), -1) > 0) {
  const came = tun.readUdpBatch(socket.fd, memory, AT, COUNT);
  tun.writeTunBatch(Int32Array.of(queue.fd), memory, AT, came);
  const goes = tun.readTunBatch(queue.fd, memory, AT, COUNT);
  for (const at of descriptors.slice(0, goes)) {
    view.setUint8(at + D.D_FAMILY, 4);
    view.setUint16(at + D.D_PORT, Number(port), true);
    memory.set(peer.split(".").map(Number), at + D.D_PEER);
  }
  tun.writeUdpBatch(Int32Array.of(socket.fd), memory, AT, goes);
}

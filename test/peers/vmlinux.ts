// The uncompressed kernel inside a bzImage (Linux boot protocol, x86). Unpacking it in the guest
// would cost four seconds of emulated CPU a boot.
import { readFileSync, writeFileSync } from "node:fs";
import { command } from "./command.js";

const SETUP_SECTORS_AT = 0x1f1;
const PAYLOAD_OFFSET_AT = 0x248;
const PAYLOAD_LENGTH_AT = 0x24c;
const SECTOR = 512;
const ELF = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);

/** xz comes from the unpacked packages: `stage`. */
function unpack(stage: string, payload: Buffer): Buffer {
  const xz = ["chroot", stage, "/usr/bin/xz", "-dc", "--single-stream"];
  return command(xz, { input: payload });
}

/** Writes an ELF kernel to `target`; the bzImage as it is where its payload is not xz. */
export function extractKernel(stage: string, bzImage: string, target: string): void {
  const image = readFileSync(bzImage);
  const sectors = image.readUInt8(SETUP_SECTORS_AT) || 4;
  const begin = (sectors + 1) * SECTOR + image.readUInt32LE(PAYLOAD_OFFSET_AT);
  const length = image.readUInt32LE(PAYLOAD_LENGTH_AT);
  // The payload ends with its unpacked size (4 bytes), which is not xz's.
  const payload = image.subarray(begin, begin + length - 4);
  try {
    const kernel = unpack(stage, payload);
    if (!kernel.subarray(0, ELF.length).equals(ELF)) throw new Error("no ELF file");
    writeFileSync(target, kernel);
  } catch {
    writeFileSync(target, image);
  }
}

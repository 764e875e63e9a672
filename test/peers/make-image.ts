// Run by the set-up: makes the kernel peer's image, so that no test waits for downloads.
import { whyAbsent } from "./absence.js";

const reason = whyAbsent();
if (reason !== undefined) {
  process.stderr.write(`${reason}\n`);
  process.exitCode = 1;
}

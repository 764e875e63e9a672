// Run by the set-up: makes the kernel peer's image, so that no test waits for downloads.
import { makeImage } from "./image.js";

try {
  makeImage();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}

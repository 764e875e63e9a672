// Run by the set-up: fetches the BGP daemon, so that no test waits for downloads.
import { fetchBird } from "./bird.js";

try {
  fetchBird();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}

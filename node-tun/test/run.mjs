// Runs every suite of the package, each in a process of its own; exit code 1 when one failed.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
for (const name of readdirSync(here).filter((file) => file.endsWith(".test.mjs"))) {
  console.log(name);
  const { status } = spawnSync(process.execPath, [join(here, name)], { stdio: "inherit" });
  if (status !== 0) process.exitCode = 1;
}

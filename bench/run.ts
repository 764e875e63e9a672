// npm run bench: the kernels, then the network at MTU 1500 as it comes. Under 15 minutes.
import { runKernels } from "./kernels.js";
import { parseThroughputOptions } from "./support/options.js";
import { runThroughput } from "./throughput.js";

async function main(argv: string[]): Promise<number> {
  const options = parseThroughputOptions(argv);
  if (options === "help" || process.getuid?.() !== 0) {
    process.stderr.write("bench: run it as root; options are throughput's (--help there)\n");
    return options === "help" ? 0 : 2;
  }
  await runKernels();
  process.stdout.write("\n");
  return (await runThroughput(options)) ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n`);
  process.exitCode = 1;
}

// Runs HostKeeper inside the network namespace that a test started it in. Arguments: state file,
// then one JSON per call: a HostWanted to apply, or {"remove": [pools]}. Prints one JSON line per
// call.
import { HostKeeper, type HostWanted } from "../../src/agent/host-keeper.js";

const [path = "", ...calls] = process.argv.slice(2);
const keeper = await HostKeeper.open("mesh0", path);
for (const call of calls) {
  const asked = JSON.parse(call) as HostWanted | { remove: string[] };
  if ("remove" in asked) {
    await keeper.remove(asked.remove);
    console.log(JSON.stringify({ removed: true }));
  } else {
    console.log(JSON.stringify(await keeper.apply(asked)));
  }
}

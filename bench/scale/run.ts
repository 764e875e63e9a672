// npm run bench:scale: how the control plane grows with the number of nodes.
import { Simulation } from "./simulation.js";

const nodes = Number(process.argv[2] ?? 50);
const shared = process.argv[3] !== "alone";
const say = (line: string) => process.stderr.write(`${line}\n`);
const simulation = await Simulation.start({
  nodes,
  processes: 4,
  shared,
  changes: 5,
  rest_s: 5,
  say,
});
try {
  say(JSON.stringify(await simulation.join()));
  say(JSON.stringify(await simulation.reports()));
  say(
    JSON.stringify({
      controller: await simulation.controller.use(),
      server: await simulation.store.use(),
      traffic: await simulation.store.traffic(),
    }),
  );
  await simulation.rest();
  say(
    JSON.stringify({
      server: await simulation.store.use(),
      traffic: await simulation.store.traffic(),
    }),
  );
  say(JSON.stringify({ moves: await simulation.moves() }));
  say(JSON.stringify({ settings: await simulation.settings() }));
  say(JSON.stringify({ leaves: await simulation.leaves() }));
  say(JSON.stringify(await simulation.reports()));
} finally {
  await simulation.stop();
}

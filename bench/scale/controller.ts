// The controller of a simulation, in a process of its own as in the product.
import { Controller, loadMesh } from "../../control/index.js";

const controller = await Controller.start({ mesh: await loadMesh(process.argv[2] ?? "") });
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  const { rss } = process.memoryUsage();
  process.send?.({ cpu_s: (user + system) / 1e6, resident: rss });
});
process.on("disconnect", () => void controller.close().finally(() => process.exit(0)));
process.send?.("ready");

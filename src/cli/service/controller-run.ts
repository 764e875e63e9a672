// The work of `meshd controller`.
import { loadMesh, type Mesh } from "../../../control/index.js";
import { meshDir, meshHere } from "../admin.js";
import { CommandError, type Context, type Invocation } from "../command.js";
import { Progress, print } from "../output.js";
import { remember } from "../remembered.js";
import { runController } from "./controller-process.js";
import { answering } from "./controller-ready.js";
import type { ControllerState } from "./controller-state.js";
import { launch, serviceArgv } from "./launch.js";
import { runningPid } from "./process-files.js";

/** Runs `meshd controller`. */
export async function controller(
  invocation: Invocation,
  context: Context,
): Promise<undefined | number> {
  const { settings } = invocation;
  const running = runningPid(settings, "controller");
  if (running !== undefined) {
    const message = `a controller runs here already (process ${running}); 'meshd down' stops it`;
    throw new CommandError("MESHD_ALREADY_RUNNING", message);
  }
  const mesh = await needMesh(invocation);
  const servers = settings.nats ?? mesh.servers;
  const takeBack = remember(invocation, ["nats", "natsCa"]);
  const progress = new Progress(context);
  try {
    if (invocation.has("foreground")) {
      return await runController(invocation, mesh, undefined, servers);
    }
    progress.step("starting the controller");
    const { stateDir, runDir } = settings;
    const { answer } = await launch<ControllerState>(context, {
      service: "controller",
      place: { stateDir, runDir },
      argv: serviceArgv(["controller"], invocation),
      ready: (pid) => answering(invocation, mesh, pid),
      wantSystemd: !invocation.has("no-systemd"),
    });
    progress.done();
    const text = () => `controller of mesh ${mesh.name}: process ${answer.pid}, ${answer.nats}\n`;
    print(invocation, context, answer, text);
    return undefined;
  } catch (error) {
    progress.done();
    takeBack();
    throw error;
  }
}

async function needMesh(invocation: Invocation): Promise<Mesh> {
  const mesh = await meshHere(invocation.settings);
  return mesh ?? loadMesh(meshDir(invocation.settings));
}

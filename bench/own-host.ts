/**
 * Runs steps of this library on command; bench/host.ts starts it. One JSON line for each command and each answer,
 * `{"error": …}` when a command fails:
 *
 *     {"do": "create", "id", "folder", "network", "regularized", "steps", "floor"}  → { losses, seconds }
 *     {"do": "run", "id", "steps"}   → { milliseconds }
 *     {"do": "verify", "folder"}     → { seconds, failed, remarks }
 *     {"do": "memory"}               → { peak }
 *     {"do": "close", "id"}
 */
import { createInterface } from "node:readline";
import { messageOf } from "../src/errors.ts";
import { decodeModel, inject, verify } from "../src/index.ts";
import type { Contender } from "./contender.ts";
import { floorContender } from "./floor.ts";
import { peakMemory } from "./machine.ts";
import { readNetwork } from "./networks.ts";
import { ownContender, penaltiesOf } from "./own-step.ts";

interface Command {
  readonly do: "create" | "run" | "verify" | "memory" | "close";
  readonly id: string;
  readonly folder: string;
  readonly network: string;
  readonly regularized: boolean;
  /** Whether the contender is the floor of SOM instead of the step. */
  readonly floor: boolean;
  readonly steps: number;
}

const threads = Number(process.argv[2]);
const contenders = new Map<string, Contender>();

function contenderOf(id: string): Contender {
  const found = contenders.get(id);
  if (!found) throw new Error(`"${id}" was not started`);
  return found;
}

const commands: Record<Command["do"], (command: Command) => Promise<object>> = {
  create: async ({ id, folder, network, regularized, floor, steps }) => {
    const model = () => readNetwork(folder, network);
    const contender = floor
      ? floorContender(model, threads, network)
      : ownContender({ model, regularized, threads }, "cpu", network);
    contenders.set(id, contender);
    return contender.start(steps);
  },
  run: async ({ id, steps }) => ({ milliseconds: await contenderOf(id).run(steps) }),
  verify: async ({ folder, network }) => {
    const model = decodeModel(readNetwork(folder, network).onnx);
    const injected = await inject(model, { penalties: penaltiesOf(true) });
    const start = performance.now();
    const { checks } = await verify(model, injected);
    const seconds = (performance.now() - start) / 1000;
    const texts = (status: string) =>
      checks.filter((check) => check.status === status).map(({ name, detail }) => `${name}: ${detail}`);
    return { seconds, checks: checks.length, failed: texts("failed"), remarks: texts("noted") };
  },
  memory: async () => ({ peak: peakMemory() }),
  close: async ({ id }) => {
    await contenderOf(id).close();
    contenders.delete(id);
    return {};
  },
};

const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command;
  await commands[command.do](command).then(answer, (error) => answer({ error: messageOf(error) }));
}

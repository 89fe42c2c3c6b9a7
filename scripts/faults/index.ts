/**
 * Disturbs commands while they work, and shows that nothing is lost: kills them at random moments and while they write,
 * fills their disk at every write, sends them signals, takes their folders and streams away.
 *
 *     npm run build && npm run faults -- --kills 200
 *
 * --kills N   how many commands are killed (default 50)
 * --seed N    when (default: the time)
 * --only K    one kind: signals, runs, saves, commands, disks, places, streams
 * --quick     8 kills, and a few sizes of a disk
 *
 * Each check that fails prints a line; exit code 1 if one did. Needs a system with signals and bash.
 */
import { scriptArguments } from "../arguments.ts";
import { Chance } from "../fuzz/chance.ts";
import { Ground } from "./ground.ts";
import { killedCommands, killedRuns, killedSaves } from "./kills.ts";
import { fullDisks } from "./limits.ts";
import { places, streams } from "./places.ts";
import { type Check, signals } from "./signals.ts";

const { values } = scriptArguments(import.meta.url, {
  options: {
    kills: { type: "string" },
    seed: { type: "string" },
    only: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed ?? Math.floor(Date.now() / 1000));
const kills = Number(values.kills ?? (values.quick ? 8 : 50));
const ground = await Ground.make();
let failed = 0;
let isStopped = false;
// Ctrl-C ends the checks with their figures.
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    isStopped = true;
  });

/** Runs the checks of one kind and prints their number. */
async function kind(name: string, checks: AsyncIterable<Check>): Promise<void> {
  let count = 0;
  let own = 0;
  for await (const { what, fault } of checks) {
    if (isStopped) break;
    count++;
    if (fault === undefined) continue;
    own++;
    console.log(`${what}: ${fault}`);
  }
  failed += own;
  console.log(`${name}: ${count} checks, ${own} failed`);
}

try {
  const share = Math.ceil(kills / 4);
  const kinds: Readonly<Record<string, readonly [string, () => AsyncIterable<Check>]>> = {
    signals: ["signals", () => signals(ground)],
    runs: ["runs killed at random moments", () => killedRuns(ground, share * 2, new Chance(seed, 0))],
    saves: ["runs killed while they save", () => killedSaves(ground, share, new Chance(seed, 1))],
    commands: ["commands killed at random moments", () => killedCommands(ground, share, new Chance(seed, 2))],
    disks: ["full disks", () => fullDisks(ground, values.quick)],
    places: ["places", () => places(ground)],
    streams: ["streams", () => streams(ground)],
  };
  for (const [key, [name, checks]] of Object.entries(kinds)) {
    if (!isStopped && (values.only === undefined || values.only === key)) await kind(name, checks());
  }
} finally {
  await ground.remove();
}
console.log(`seed ${seed}: ${failed === 0 ? "nothing was lost" : `${failed} checks failed`}`);
process.exitCode = failed === 0 ? 0 : 1;

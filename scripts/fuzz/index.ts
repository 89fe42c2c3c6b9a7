/**
 * Calls every public entry on damaged and hostile input, in child processes with limits on time and memory.
 *
 *     npm run fuzz -- --seconds 60
 *
 * A case is a seed file with a change: of its bytes, of its records (protobuf), or of what it says (names, edges, sizes, types).
 * It must be done, or refused with an error for users. Anything else is a fault: a crash, more than 10 s of work, more memory than
 * four times the files plus 200 MB, another error, a file that is left behind, a written file that does not open.
 *
 * --seconds N   how long to go on (default 60)
 * --cases N     how many cases at most
 * --seed N      which cases (default: the time); the same seed gives the same cases
 * --from N      number of the first case (default 0)
 * --case N      this case alone, with its message
 * --only NAME   cases of one family: scripts/fuzz/families/table.ts lists them
 * --keep DIR    where to write the files of cases that fail (default out/fuzz)
 *
 * Ends with exit code 1 if there was a fault.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { scriptArguments } from "../arguments.ts";
import { makeCase } from "./run-case.ts";
import { makeSeeds } from "./seeds.ts";
import { type Finished, Supervisor } from "./supervisor.ts";

const { values } = scriptArguments(import.meta.url, {
  options: {
    seconds: { type: "string", default: "60" },
    cases: { type: "string" },
    seed: { type: "string" },
    from: { type: "string", default: "0" },
    case: { type: "string" },
    only: { type: "string" },
    keep: { type: "string", default: "out/fuzz" },
  },
});
const seed = Number(values.seed ?? Math.floor(Date.now() / 1000));
const first = Number(values.case ?? values.from);
const end = values.case === undefined ? first + Number(values.cases ?? Number.POSITIVE_INFINITY) : first + 1;

const work = await mkdtemp(join(tmpdir(), "sorth-fuzz-"));
const seeds = join(work, "seeds");
await makeSeeds(seeds);

/** Writes the files of a case where they can be looked at. */
async function keep({ number, family, entry, outcome, message }: Finished): Promise<void> {
  const folder = join(values.keep, `${seed}-${number}`);
  const { files } = await makeCase(seed, number, seeds, values.only);
  for (const [name, bytes] of files) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
  // As test/fuzz/corpus.test.ts reads it.
  await writeFile(
    join(folder, "case.json"),
    `${JSON.stringify({ family, entry, outcome, message }, null, 2)}\n`,
  );
}

const supervisor = new Supervisor(seed, seeds, work, values.only);
const began = performance.now();
const counts = new Map<string, number>();
let faults = 0;
let [slowest, largest] = [0, 0];
let number = first;
let isStopped = false;
// Ctrl-C ends the run with its figures.
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    isStopped = true;
  });
for (; !isStopped && number < end && performance.now() - began < Number(values.seconds) * 1000; number++) {
  const finished = await supervisor.run(number);
  const { family, entry, outcome, message } = finished;
  slowest = Math.max(slowest, finished.seconds);
  largest = Math.max(largest, finished.memory);
  counts.set(`${family}: ${outcome}`, (counts.get(`${family}: ${outcome}`) ?? 0) + 1);
  if (values.case !== undefined) console.log(`${family}, ${entry}: ${outcome} ${message}`);
  if (outcome === "done" || outcome === "refused") continue;
  faults++;
  await keep(finished);
  console.log(
    `case ${number} (${family}, ${entry}): ${outcome}: ${message.split("\n").slice(0, 4).join(" | ")}`,
  );
}
supervisor.stop();
await rm(work, { recursive: true, force: true });
for (const [name, count] of [...counts].sort()) console.log(`${String(count).padStart(7)}  ${name}`);
console.log(
  `the slowest case took ${slowest.toFixed(1)} s of the processor, the largest ${Math.round(largest / 1e6)} MB`,
);
const seconds = Math.round((performance.now() - began) / 1000);
console.log(`${number - first} cases of seed ${seed} in ${seconds} s, ${faults} faults`);
if (faults > 0) console.log(`files of the faults: ${values.keep}/${seed}-N`);
process.exitCode = faults > 0 ? 1 : 0;

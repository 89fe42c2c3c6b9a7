/**
 * Tests claims about orthogonality regularizers, in under an hour on two cores.
 *
 * npm run experiments                        all; writes results/*.json, figures/*.svg and the tables of README.md
 * npm run experiments -- lsh reduction       only these; step-cost times the penalties
 * npm run experiments -- --check [names]     runs them again, writes nothing, and fails if results differ
 * npm run experiments -- --quick             tiny sizes, writes nothing: shows that everything runs
 * npm run experiments -- --draw              draws figures and tables again from the stored results
 */
import { scriptArguments } from "../scripts/arguments.ts";
import { fetchFashion } from "./data-sets.ts";
import { fullSize, quickSize } from "./experiment.ts";
import { experiments } from "./experiments.ts";
import { differences, drawResults, drawStepCost, readResults, writeResults, writeStepCost } from "./files.ts";
import { Pool } from "./pool.ts";
import { stepCost } from "./step-cost.ts";

const { values: flags, positionals: names } = scriptArguments(import.meta.url, {
  allowPositionals: true,
  options: {
    check: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    draw: { type: "boolean", default: false },
  },
});
const known = [...experiments.map(({ name }) => name), "step-cost"];
const unknown = names.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(`error: there is no experiment "${unknown[0]}"; there are ${known.join(", ")}`);
  process.exit(2);
}
const wanted = (name: string): boolean => names.length === 0 || names.includes(name);
const chosen = experiments.filter(({ name }) => wanted(name));

if (flags.draw) {
  for (const experiment of chosen) drawResults(experiment);
  if (wanted("step-cost")) drawStepCost();
} else {
  if (chosen.some(({ needsFashion }) => needsFashion)) fetchFashion();
  await run();
}

async function run(): Promise<void> {
  const pool = new Pool((done, of) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${done} of ${of} runs`);
  });
  try {
    for (const experiment of chosen) {
      const start = performance.now();
      const results = await experiment.run(pool, flags.quick ? quickSize : fullSize);
      const seconds = Math.round((performance.now() - start) / 1000);
      console.log(`${process.stderr.isTTY ? "\r" : ""}${experiment.name}: ${seconds} s`);
      if (flags.check) {
        const different = differences(readResults(experiment), results);
        for (const line of different.slice(0, 10)) console.error(`error: ${experiment.name}: ${line}`);
        if (different.length > 0) process.exitCode = 1;
      } else if (flags.quick) {
        console.log(experiment.tables(results));
      } else {
        writeResults(experiment, results);
        drawResults(experiment);
      }
    }
  } finally {
    pool.close();
  }
  // Timed after the pool has closed, so that nothing else runs.
  if (wanted("step-cost") && !flags.check) {
    const cost = await stepCost(flags.quick ? 1 : 9);
    if (!flags.quick) {
      writeStepCost(cost);
      drawStepCost();
    }
  }
}

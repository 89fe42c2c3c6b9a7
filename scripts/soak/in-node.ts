/**
 * Works in a process of its own and prints what it holds, one line of JSON per reading; see scripts/soak/index.ts.
 * Arguments: backend, unit (steps or trainers), amount, readings, bytes kept on purpose.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as library from "../../src/index.ts";
import { leakModel } from "../../test/helpers/leak-model.ts";
import { useGpu } from "../../test/helpers/software-gpu.ts";
import type { Reading } from "./measures.ts";
import { heldBy } from "./processes.ts";
import { sizes, workOf } from "./work.ts";

const [backend = "cpu", unit = "steps", ...numbers] = process.argv.slice(2);
const [amount = 1000, readings = 50, leak = 0] = numbers.map(Number);
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const missing = backend === "webgpu" ? useGpu() : "";
if (missing !== "") throw new Error(missing);

const inMemory = { ...library, readModel: async (bytes: Uint8Array) => library.decodeModel(bytes) };
const work = workOf(inMemory, { ...sizes, backend, leak, file: [...leakModel().bytes] });
let done = 0;
for (let reading = 1; reading <= readings; reading++) {
  const until = Math.round((amount * reading) / readings);
  if (unit === "steps") await work.steps(until - done);
  else for (let count = done; count < until; count++) await work.trainer();
  done = until;
  // Twice: what finalizers let go is collected the second time.
  collect();
  await new Promise((resolve) => setTimeout(resolve, 5));
  collect();
  const { heapUsed, external } = process.memoryUsage();
  const held = { ...heldBy(process.pid), heap: (heapUsed + external) / 2 ** 20 };
  console.log(JSON.stringify({ at: done, held } satisfies Reading));
}
await work.end();

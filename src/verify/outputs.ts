import { findSites } from "../analysis/sites.ts";
import type { Block } from "../block/block.ts";
import { type Mark, wOf } from "../block/mark.ts";
import { listed } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { equalBytes } from "../onnx/wire.ts";
import { runsQuickly } from "./budget.ts";
import { check, note, type VerifyCheck, within } from "./report.ts";
import { type Results, resultOf, scalarOf, shown, type VerifyRun } from "./run.ts";
import type { InjectedSite } from "./sites.ts";

/**
 * Compares the original's outputs with those of the injected model, and the loss if the penalty was added to it.
 * @param original - the model before inject, and its graph
 * @param injected - the layers with penalties, as far as they are known
 * @param budget - the option of verify
 */
export async function checkOutputs(
  original: Model,
  own: Graph,
  run: VerifyRun,
  { mark }: Block,
  injected: readonly InjectedSite[],
  budget: number | undefined,
): Promise<VerifyCheck[]> {
  const known = new Map([...run.feeds].filter(([name]) => name !== mark.objective?.labels));
  const plain = { optimize: false };
  const exact = {
    before: await run.probe.run(original, known, plain),
    after: await run.probe.run(run.model, run.feeds, plain),
  };
  const all = own.outputs.map(({ name }) => name);
  const names = all.filter((name) => exact.before.has(name));
  const hidden = all.filter((name) => !exact.before.has(name));
  const kept = names.filter((name) => name !== mark.loss?.name);
  const broken = names.filter((name) => !isNumeric(resultOf(exact.before, name)));
  const differing = kept.filter(
    (name) => !sameBits(resultOf(exact.before, name), resultOf(exact.after, name)),
  );
  const checks = [
    ...(broken.length > 0
      ? [
          note(
            "inputs",
            `the original gives NaN on these inputs (${listed(broken)}): give --data, or see whether sorth-onnx inspect finds such numbers in its weights`,
          ),
        ]
      : []),
    ...(kept.length > 0
      ? [
          check(
            "outputs bit-identical",
            differing.length === 0,
            differing.length > 0
              ? `different: ${listed(differing)}`
              : `all ${kept.length}, without graph optimization`,
          ),
        ]
      : []),
    ...(hidden.length > 0
      ? [
          note(
            "outputs not compared",
            `${listed(hidden)}: ONNX Runtime's JavaScript bindings return no sequences and maps`,
          ),
        ]
      : []),
    runsQuickly(findSites(own).sites, injected, budget)
      ? await atDefaultLevel(original, run, known, kept)
      : note("outputs at the default level", "not compared for the model's size; --budget 0 compares them"),
  ];
  if (mark.loss) checks.push(checkLoss(exact.before, exact.after, mark, mark.loss.name));
  return checks;
}

/** The largest difference of the outputs when ONNX Runtime optimizes both graphs. */
async function atDefaultLevel(
  original: Model,
  { probe, model, feeds }: VerifyRun,
  known: VerifyRun["feeds"],
  names: readonly string[],
): Promise<VerifyCheck> {
  const before = await probe.run(original, known);
  const after = await probe.run(model, feeds);
  const differences = names.map((name) => relativeDifference(resultOf(after, name), resultOf(before, name)));
  const largest = Math.max(0, ...differences);
  return note("outputs at the default level", `largest relative difference ${shown(largest)}`, largest);
}

/** Checks that the loss is the original's plus w·R. */
function checkLoss(before: Results, after: Results, mark: Mark, name: string): VerifyCheck {
  const w = wOf(mark);
  const expected = scalarOf(before, name) + w * scalarOf(after, mark.penalty);
  const actual = scalarOf(after, name);
  if (Number.isNaN(expected) && Number.isNaN(actual)) {
    return note("loss", "not checked: the loss and R are NaN on these inputs; give --data");
  }
  const half = resultOf(after, name).type === "float16" ? 1e-3 : 1e-6;
  const error = Math.abs(actual - expected) / Math.max(Math.abs(expected), 1e-2);
  return within(
    "loss",
    error,
    half,
    `${name} = ${shown(actual)}, the original's + ${w}·R = ${shown(expected)}`,
  );
}

/** Whether a tensor holds no NaN. */
function isNumeric(tensor: Tensor): boolean {
  const floats = ["float", "double", "float16", "bfloat16"].includes(tensor.type);
  return !floats || !tensor.numbers().some(Number.isNaN);
}

/** Whether two tensors are equal, bit for bit. */
function sameBits(a: Tensor, b: Tensor): boolean {
  if (a.type !== b.type || a.dims.join() !== b.dims.join()) return false;
  if (a.type !== "string") return equalBytes(a.bytes, b.bytes);
  const [texts, others] = [a.data as readonly Uint8Array[], b.data as readonly Uint8Array[]];
  return texts.every((text, i) => equalBytes(text, others[i] ?? new Uint8Array()));
}

/** max |aᵢ − bᵢ| / max |bᵢ|; 0 for outputs without numbers. */
function relativeDifference(a: Tensor, b: Tensor): number {
  if (a.type === "string") return 0;
  const [x, y] = [a.numbers(), b.numbers()];
  let [difference, largest] = [0, Number.MIN_VALUE];
  y.forEach((value, i) => {
    if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
    if (x[i] !== value && !(Number.isNaN(value) && Number.isNaN(x[i]))) {
      difference = Math.max(difference, Math.abs((x[i] ?? Number.NaN) - value));
    }
  });
  return difference / largest;
}

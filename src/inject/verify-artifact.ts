import type { Probe } from "../analysis/probe.ts";
import { forwardGraphOf } from "../artifacts/forward-part.ts";
import type { TrainingModel } from "../artifacts/training-model.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { equalBytes } from "../onnx/wire.ts";
import type { Block } from "./block.ts";
import type { RenamedValue } from "./mark.ts";
import { Random, tensorOf } from "./random-tensors.ts";
import { strip } from "./strip.ts";
import { tap } from "./tap.ts";
import type { VerifyOptions } from "./verify.ts";
import { dataFor } from "./verify-data.ts";
import {
  checkValues,
  type InjectedSite,
  reference,
  responseRows,
  resultOf,
  scalarOf,
  shown,
  type VerifyRun,
} from "./verify-penalty.ts";
import { check, note, type VerifyCheck, type VerifyReport, within } from "./verify-report.ts";
import { injectedSites } from "./verify-sites.ts";

/** Relative errors of float32 against float64. */
const limits = { loss: 1e-6, gradient: 1e-4 } as const;

/**
 * Compares an injected training model with its original. Stock ONNX Runtime runs neither, so the forward parts are run,
 * with random weights: penalties, the loss, and for each layer what was added to its gradient.
 * @throws SorthError when the original is no training model
 */
export async function verifyArtifact(
  original: Model,
  injected: Model,
  block: Block,
  options: VerifyOptions,
  probe: Probe,
): Promise<VerifyReport> {
  const seed = options.seed ?? 1;
  const own = forwardGraph(original, seed);
  const { feeds } = await dataFor(own, block, options, probe);
  const gradients = block.mark.gradients ?? [];
  const graph = graphOf(injected);
  const slopes = new Map(gradients.map((gradient) => [gradient.name, slopeOf(graph, gradient)]));
  const kept = [...slopes.values()].flatMap((slope) => (slope ? [slope.name] : []));
  const model = Model.fromProto(graphToProto(forwardGraph(injected, seed, kept)));
  const run: VerifyRun = { model, feeds, probe, seed };
  const checks: VerifyCheck[] = [
    check(
      "strip restores the file",
      equalBytes(strip(injected).bytes, original.bytes),
      "the original file, byte for byte, comes out of strip",
    ),
    ...gradients.map(({ name }) =>
      check(`sum of ${name}`, !!slopes.get(name), "the gradient is the model's own plus that of the penalty"),
    ),
  ];
  const sites = injectedSites(own, block, options.penalties ?? []);
  if (typeof sites === "string") checks.push(note("penalty", sites));
  else {
    checks.push(...(await checkValues(run, sites, block.mark.penalty)));
    checks.push(...(await checkGradients(run, sites, block, slopes)));
  }
  checks.push(await checkLoss(run, block));
  return { passed: checks.every(({ status }) => status !== "failed"), checks };
}

/** The forward part with seeded random weights: the same for both files. */
function forwardGraph(model: Model, seed: number, keep: readonly string[] = []): Graph {
  const random = new Random(seed);
  const weight = (value: Value, { frozen }: TrainingModel) =>
    randomWeight(random, value, frozen.includes(value));
  return forwardGraphOf(model, weight, keep);
}

/** Small numbers, so that responses do not saturate; positive ones where a variance may be. */
function randomWeight(random: Random, { name, type, declared }: Value, positive: boolean): Tensor {
  const dims = (declared ?? []).map(Number);
  const size = dims.reduce((product, dim) => product * dim, 1);
  const numbers = Array.from({ length: size }, () => {
    const number = 0.2 * random.normal();
    return positive ? 0.5 + Math.abs(number) : number;
  });
  return tensorOf(name, type ?? "float", dims, numbers);
}

/** What a block adds to a gradient; undefined where the file does not add it. */
function slopeOf(graph: Graph, { name, original }: RenamedValue): Value | undefined {
  const sum = graph.value(name)?.producer;
  const [own, slope] = sum?.inputs ?? [];
  return sum?.op === "Add" && own?.name === original ? (slope ?? undefined) : undefined;
}

async function checkGradients(
  run: VerifyRun,
  sites: readonly InjectedSite[],
  { mark }: Block,
  slopes: ReadonlyMap<string, Value | undefined>,
): Promise<VerifyCheck[]> {
  const weight = mark.penalties[0]?.weight ?? 1;
  const checked = sites.map((injected) => ({
    injected,
    slope: slopes.get(`${injected.site.response.name}_grad`)?.name,
  }));
  const names = checked.flatMap(({ injected, slope }) => (slope ? [injected.site.response.name, slope] : []));
  const results = await run.probe.run(tap(run.model, names), run.feeds, { optimize: false });
  return checked.map(({ injected, slope }): VerifyCheck => {
    const { site } = injected;
    const name = `gradient of ${site.name}`;
    if (slope === undefined) return note(name, "none: nothing before the layer is trained");
    const expected = reference(injected, responseRows(site, resultOf(results, site.response.name))).gradient;
    const found = responseRows(site, resultOf(results, slope));
    const largest = weight * Math.max(...expected.flat().map(Math.abs));
    const error = Math.max(
      ...expected.flatMap((row, r) =>
        row.map((g, unit) => Math.abs(weight * g - (found[r]?.[unit] ?? Number.NaN))),
      ),
    );
    const detail = `differs by ${shown(error)} of ${shown(largest)} from the float64 reference`;
    return within(name, error / Math.max(largest, 1e-6), limits.gradient, detail);
  });
}

async function checkLoss(run: VerifyRun, { mark }: Block): Promise<VerifyCheck> {
  if (!mark.loss) return note("loss", "the block changes no loss");
  const names = [mark.loss.name, mark.loss.original, mark.penalty];
  const results = await run.probe.run(tap(run.model, names), run.feeds, { optimize: false });
  const [total, data, penalty] = names.map((name) => scalarOf(results, name)) as [number, number, number];
  const expected = data + (mark.penalties[0]?.weight ?? 1) * penalty;
  const error = Math.abs(total - expected) / Math.max(1, Math.abs(expected));
  return within("loss", error, limits.loss, `${shown(total)}, loss + w·R = ${shown(expected)}`);
}

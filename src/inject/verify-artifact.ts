import type { Probe } from "../analysis/probe.ts";
import { forwardGraphOf } from "../artifacts/forward-part.ts";
import type { TrainingModel } from "../artifacts/training-model.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import { Random, tensorOf } from "../onnx/random-tensors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { equalBytes } from "../onnx/wire.ts";
import { addedTo, weightOf } from "../penalties/layer.ts";
import { subjectOf } from "../penalties/penalty.ts";
import {
  gathered,
  type Matrix,
  type PenaltyReference,
  responsePlaces,
  weightPlaces,
} from "../penalties/plain-layer.ts";
import type { Block } from "./block.ts";
import { type RenamedValue, wOf } from "./mark.ts";
import { strip } from "./strip.ts";
import { tap } from "./tap.ts";
import type { VerifyOptions } from "./verify.ts";
import { dataFor } from "./verify-data.ts";
import { checkValues, reference, resultOf, scalarOf, shown, type VerifyRun } from "./verify-penalty.ts";
import { check, note, type VerifyCheck, type VerifyReport, within } from "./verify-report.ts";
import { type InjectedSite, injectedSites, layerNames, plainLayerOf } from "./verify-sites.ts";

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

/** What was added to one gradient of a training model, and what it has to be. */
interface AddedGradient {
  readonly name: string;
  readonly slope: string | undefined;
  readonly site: InjectedSite;
  /** Places in the slope, and the reference's gradient there. */
  readonly expected: (
    gradient: PenaltyReference["gradient"],
    dims: readonly number[],
  ) => { places: readonly (readonly number[])[]; slopes: Matrix } | undefined;
}

async function checkGradients(
  run: VerifyRun,
  sites: readonly InjectedSite[],
  { mark }: Block,
  slopes: ReadonlyMap<string, Value | undefined>,
): Promise<VerifyCheck[]> {
  const weight = wOf(mark);
  const checked = sites.flatMap((injected) => addedGradients(injected, slopes));
  const names = checked.flatMap(({ site: { site }, slope }) => (slope ? [...layerNames(site), slope] : []));
  const results = await run.probe.run(tap(run.model, names), run.feeds, { optimize: false });
  return checked.map(({ name, slope, site: injected, expected }): VerifyCheck => {
    if (slope === undefined) return note(name, "none: nothing before the layer is trained");
    const found = resultOf(results, slope);
    const result = reference(injected, plainLayerOf(injected.site, results, run.feeds));
    if (typeof result === "string") return note(name, `not checked: ${result}`);
    const wanted = expected(result.gradient, found.dims);
    if (!wanted) return note(name, "not checked: the weight is laid out otherwise than its layer reads it");
    const actual = gathered(wanted.places, found.numbers());
    const largest = weight * Math.max(...wanted.slopes.flat().map(Math.abs));
    const error = Math.max(
      ...wanted.slopes.flatMap((row, i) =>
        row.map((g, j) => Math.abs(weight * g - (actual[i]?.[j] ?? Number.NaN))),
      ),
    );
    const detail = `differs by ${shown(error)} of ${shown(largest)} from the float64 reference`;
    return within(name, error / Math.max(largest, 1e-6), limits.gradient, detail);
  });
}

/** The gradients that a site's penalties were added to: of its response, of its weight. */
function addedGradients(
  injected: InjectedSite,
  slopes: ReadonlyMap<string, Value | undefined>,
): AddedGradient[] {
  const { site, penalties } = injected;
  const subjects = new Set(penalties.map(({ penalty }) => subjectOf(penalty)));
  const slopeOf = ({ name }: Value) => slopes.get(`${name}_grad`)?.name;
  const ofResponse: AddedGradient = {
    ...{ name: `gradient of ${site.name}`, slope: slopeOf(site.response), site: injected },
    expected: ({ responses }, dims) => responses && { places: responsePlaces(dims, site), slopes: responses },
  };
  const ofWeight: AddedGradient = {
    ...{ name: `gradient of the weight of ${site.name}`, slope: slopeOf(site.weight), site: injected },
    expected: ({ weights }, dims) =>
      weightOf(site) === site.weight && weights
        ? { places: weightPlaces(dims, site), slopes: weights }
        : undefined,
  };
  const added = addedTo(site);
  const ofBias: AddedGradient = {
    ...{
      name: `gradient of the bias of ${site.name}`,
      slope: site.bias && slopeOf(site.bias),
      site: injected,
    },
    expected: ({ bias }) =>
      added && added.value === site.bias && bias
        ? { places: [bias.map((_, unit) => unit)], slopes: [bias.map((slope) => slope * added.factor)] }
        : undefined,
  };
  return [
    ...(subjects.has("responses") ? [ofResponse] : []),
    ...(subjects.has("weights") ? [ofWeight] : []),
    ...(ofBias.slope === undefined ? [] : [ofBias]),
  ];
}

async function checkLoss(run: VerifyRun, { mark }: Block): Promise<VerifyCheck> {
  if (!mark.loss) return note("loss", "the block changes no loss");
  const names = [mark.loss.name, mark.loss.original, mark.penalty];
  const results = await run.probe.run(tap(run.model, names), run.feeds, { optimize: false });
  const [total, data, penalty] = names.map((name) => scalarOf(results, name)) as [number, number, number];
  const expected = data + wOf(mark) * penalty;
  const error = Math.abs(total - expected) / Math.max(1, Math.abs(expected));
  return within("loss", error, limits.loss, `${shown(total)}, loss + w·R = ${shown(expected)}`);
}

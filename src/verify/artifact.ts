import type { Probe } from "../analysis/probe.ts";
import { forwardGraphOf } from "../artifacts/forward-part.ts";
import type { TrainingModel } from "../artifacts/training-model.ts";
import type { Block } from "../block/block.ts";
import { type RenamedValue, wOf } from "../block/mark.ts";
import { strip } from "../block/strip.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { tap } from "../inject/tap.ts";
import { Model } from "../onnx/model.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { sameContents } from "../onnx/stored.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { subjectOf } from "../penalties/applies.ts";
import { addedTo, weightOf } from "../penalties/layer.ts";
import {
  type Matrix,
  type PenaltyReference,
  responsePlaces,
  weightPlaces,
} from "../penalties/plain-layer.ts";
import { Random } from "../random.ts";
import { type Share, sharesOf, tooLarge } from "./budget.ts";
import { dataFor } from "./data.ts";
import type { VerifyOptions } from "./options.ts";
import { reference } from "./reference.ts";
import { check, note, type VerifyCheck, type VerifyReport, within } from "./report.ts";
import { resultOf, scalarOf, shown, type VerifyRun } from "./run.ts";
import {
  type InjectedSite,
  injectedSites,
  layerNames,
  layerNumbers,
  layerTensors,
  plainLayer,
} from "./sites.ts";
import { checkValues } from "./values.ts";

/** Relative errors of float32 against float64. */
const limits = { loss: 1e-6, gradient: 1e-4 } as const;

/**
 * Compares an injected training model with its original. Stock ONNX Runtime cannot run either, so their forward parts are
 * run with random weights. Compared are penalties, the loss, and for each layer the part added to its gradient.
 * @throws SorthError if the original is not a training model
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
  const { feeds, samples } = await dataFor(own, block, options, probe);
  const gradients = block.mark.gradients ?? [];
  const graph = graphOf(injected);
  const slopes = new Map(gradients.map((gradient) => [gradient.name, slopeOf(graph, gradient)]));
  const kept = [...slopes.values()].flatMap((slope) => (slope ? [slope.name] : []));
  const forward = forwardGraph(injected, seed, kept);
  const model = Model.fromProto(graphToProto(forward));
  const run: VerifyRun = { model, graph: forward, feeds, probe, seed };
  const checks: VerifyCheck[] = [
    check(
      "strip restores the file",
      sameContents(strip(injected).pieces, original.pieces),
      "the original file, byte for byte, comes out of strip",
    ),
    ...gradients.map(({ name }) =>
      check(`sum of ${name}`, !!slopes.get(name), "the gradient is the model's own plus that of the penalty"),
    ),
  ];
  const sites = injectedSites(own, block, options.penalties ?? []);
  if (typeof sites === "string") checks.push(note("penalty", sites));
  else {
    const shares = sharesOf(sites, options.budget, samples);
    checks.push(...(await checkValues(run, shares, block.mark.penalty)));
    checks.push(...(await checkGradients(run, shares, block, slopes)));
  }
  checks.push(await checkLoss(run, block));
  return { passed: checks.every(({ status }) => status !== "failed"), checks };
}

/** The forward part with seeded random weights, the same for both files. */
function forwardGraph(model: Model, seed: number, keep: readonly string[] = []): Graph {
  const random = new Random("weights of verify", seed);
  const weight = (value: Value, { frozen }: TrainingModel) =>
    randomWeight(random, value, frozen.includes(value));
  return forwardGraphOf(model, weight, keep);
}

/** Small numbers, so that responses do not saturate; positive for a possible variance. */
function randomWeight(random: Random, { name, type, declared }: Value, positive: boolean): Tensor {
  const dims = (declared ?? []).map(Number);
  const size = dims.reduce((product, dim) => product * dim, 1);
  const numbers = Array.from({ length: size }, () => {
    const number = 0.2 * random.normal();
    return positive ? 0.5 + Math.abs(number) : number;
  });
  return tensorOf(name, type ?? "float", dims, numbers);
}

/** The value that a block adds to a gradient; undefined if the file adds none. */
function slopeOf(graph: Graph, { name, original }: RenamedValue): Value | undefined {
  const sum = graph.value(name)?.producer;
  const [own, slope] = sum?.inputs ?? [];
  return sum?.op === "Add" && own?.name === original ? (slope ?? undefined) : undefined;
}

/** The part added to a gradient of a training model for one layer, and its expected value. */
interface AddedGradient {
  /** Describes the value whose gradient it is. */
  readonly of: string;
  readonly slope: string | undefined;
  readonly site: InjectedSite;
  /** Places in the slope, and the reference's gradient at these places. */
  readonly expected: (
    gradient: PenaltyReference["gradient"],
    dims: readonly number[],
  ) => { places: readonly (readonly number[])[]; slopes: Matrix } | undefined;
}

async function checkGradients(
  run: VerifyRun,
  shares: ReadonlyMap<InjectedSite, Share>,
  { mark }: Block,
  slopes: ReadonlyMap<string, Value | undefined>,
): Promise<VerifyCheck[]> {
  const weight = wOf(mark);
  const added = [...shares.keys()].flatMap((injected) => addedGradients(injected, slopes));
  const compared = added.filter(({ site }) => shares.get(site)?.gradient);
  const names = compared.flatMap(({ site, slope }) => (slope ? [...layerNames(site), slope] : []));
  const results = await run.probe.run(tap(run.model, names), run.feeds, { optimize: false });
  const checks = added
    .filter(({ slope }) => slope === undefined)
    .map(({ of }) => note(`gradient of ${of}`, "none: nothing before the layer is trained"));
  // A parameter that several layers read gets the sum of their gradients.
  for (const slope of new Set(added.flatMap(({ slope }) => slope ?? []))) {
    const parts = added.filter((part) => part.slope === slope);
    const name = `gradient of ${parts.map(({ of }) => of).join(" and ")}`;
    const large = parts.find(({ site }) => !shares.get(site)?.gradient);
    if (large) {
      checks.push(note(name, tooLarge(shares.get(large.site))));
      continue;
    }
    const found = resultOf(results, slope);
    const expected = sumOf(parts, found.dims, (site) => referenceIn(site, results, run));
    if (typeof expected === "string") {
      checks.push(note(name, `not checked: ${expected}`));
      continue;
    }
    const actual = found.numbers();
    let [largest, error] = [0, 0];
    for (const [place, g] of expected) {
      largest = Math.max(largest, Math.abs(weight * g));
      error = Math.max(error, Math.abs(weight * g - (actual[place] ?? Number.NaN)));
    }
    const detail = `differs by ${shown(error)} of ${shown(largest)} from the float64 reference`;
    checks.push(within(name, error / Math.max(largest, 1e-6), limits.gradient, detail));
  }
  return checks;
}

function referenceIn(
  site: InjectedSite,
  results: ReadonlyMap<string, Tensor>,
  run: VerifyRun,
): PenaltyReference | string {
  const tensors = layerTensors(site, results, run.feeds);
  return reference(site, plainLayer(site, tensors, layerNumbers(site, tensors)));
}

/** The reference's gradient by place in a tensor, summed over all layers that add to it; or why there is none. */
function sumOf(
  parts: readonly AddedGradient[],
  dims: readonly number[],
  referenceOf: (site: InjectedSite) => PenaltyReference | string,
): Map<number, number> | string {
  const sum = new Map<number, number>();
  for (const { site, expected } of parts) {
    const result = referenceOf(site);
    if (typeof result === "string") return result;
    const wanted = expected(result.gradient, dims);
    if (!wanted) return "the weight is laid out otherwise than its layer reads it";
    wanted.places.forEach((row, i) => {
      row.forEach((place, j) => {
        sum.set(place, (sum.get(place) ?? 0) + (wanted.slopes[i]?.[j] ?? Number.NaN));
      });
    });
  }
  return sum;
}

/** The gradients to which a site's penalties were added: those of its response, weight and bias. */
function addedGradients(
  injected: InjectedSite,
  slopes: ReadonlyMap<string, Value | undefined>,
): AddedGradient[] {
  const { site, penalties } = injected;
  const subjects = new Set(penalties.map(({ penalty }) => subjectOf(penalty)));
  const slopeOf = ({ name }: Value) => slopes.get(`${name}_grad`)?.name;
  const ofResponse: AddedGradient = {
    ...{ of: site.name, slope: slopeOf(site.response), site: injected },
    expected: ({ responses }, dims) => responses && { places: responsePlaces(dims, site), slopes: responses },
  };
  const ofWeight: AddedGradient = {
    ...{ of: `the weight of ${site.name}`, slope: slopeOf(site.weight), site: injected },
    expected: ({ weights }, dims) =>
      weightOf(site) === site.weight && weights
        ? { places: weightPlaces(dims, site), slopes: weights }
        : undefined,
  };
  const added = addedTo(site);
  const ofBias: AddedGradient = {
    ...{ of: `the bias of ${site.name}`, slope: site.bias && slopeOf(site.bias), site: injected },
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

import { messageOf } from "../errors.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { Tensor } from "../onnx/tensor.ts";
import { addedTo } from "../penalties/layer.ts";
import {
  type Matrix,
  type PenaltyReference,
  type PlainLayer,
  placesOfResponse,
  placesOfWeight,
  type UnitPlaces,
} from "../penalties/plain-layer.ts";
import { dot, sum } from "../penalties/plain-math.ts";
import { Random } from "../random.ts";
import { blockAlone } from "./alone.ts";
import { allowed, toleranceOf } from "./limits.ts";
import { reference } from "./reference.ts";
import { note, type VerifyCheck, within } from "./report.ts";
import { scalarOf, shown, type VerifyRun } from "./run.ts";
import {
  type InjectedSite,
  type LayerNumbers,
  type LayerTensors,
  layerNumbers,
  plainLayer,
} from "./sites.ts";
import { inPlaces } from "./units.ts";
import type { ComparedLayer } from "./values.ts";

/** Allowed relative errors of the change between two points, and of a slope in float64. */
const limits = { change: 2e-3, slope: 1e-4 } as const;

/** Distances of the two points from the data, relative to each unit's root mean square; the second if R hardly moves at the first. */
const steps = [0.05, 0.5] as const;

/** A change is compared only if it is at least this share of R and this multiple of possible rounding errors. */
const visible = { ofValue: 1e-4, ofRounding: 20 } as const;

/** Steps of the differences, relative as above. Responses of 10⁴ and more need the smallest ones: their tanh turns within a millionth. */
const differenceSteps = [1e-4, 1e-6, 1e-8, 1e-10] as const;

/** A layer's numbers after a move along a direction. */
interface Moved {
  readonly tensors: LayerTensors;
  readonly numbers: LayerNumbers;
}

/**
 * Moves the numbers that a site's block reads (its response or its weight) along a random direction, runs the block alone and
 * compares:
 *
 * - the scalars at two points near the data, and the change between them, with the float64 reference. This shows that the
 *   graph computes the same function as the reference.
 * - the slope along that direction from the closed-form gradient of each penalty's reference, with differences of that
 *   reference at the data. This shows that the gradient belongs to that function. A kink there is reported.
 *
 * Each layer and each penalty is compared by itself: a wrong gradient cannot hide behind larger ones.
 */
export async function checkSlope(
  run: VerifyRun,
  layer: ComparedLayer,
  samples: { readonly of: number; readonly all: number },
): Promise<VerifyCheck> {
  const { injected } = layer;
  const name = `gradient of ${injected.site.name}`;
  try {
    const tensors = samples.of < samples.all ? firstSamples(layer.tensors, samples) : layer.tensors;
    return await slopeOf(run, { ...layer, tensors }, name);
  } catch (error) {
    return note(name, `not checked: ${messageOf(error)}`);
  }
}

async function slopeOf(run: VerifyRun, layer: ComparedLayer, name: string): Promise<VerifyCheck> {
  const { injected, tensors } = layer;
  const numbers = layerNumbers(injected, tensors);
  const direction = randomDirection(numbers, run.seed);
  const valueAt = (at: Moved) => referenceAt(injected, plainLayer(injected, at.tensors, at.numbers));
  const here = valueAt({ tensors, numbers });
  const tolerance = toleranceOf(injected, { tensors, numbers, value: here.value, seed: run.seed });
  let [low, high, expected] = [undefined, undefined, 0] as [Ends | undefined, Ends | undefined, number];
  let bound = 0;
  for (const step of steps) {
    const at = (shift: number): Ends => {
      const moved = movedTensors(injected, tensors, along(numbers, direction, shift));
      const point = { tensors: moved, numbers: layerNumbers(injected, moved) };
      return { ...point, expected: valueAt(point).value };
    };
    [low, high] = [at(-step), at(step)];
    expected = high.expected - low.expected;
    bound = Math.max(allowed(low.expected, tolerance), allowed(high.expected, tolerance));
    const least = Math.max(
      visible.ofValue * Math.max(Math.abs(low.expected), Math.abs(high.expected)),
      visible.ofRounding * bound,
    );
    if (Math.abs(expected) > least) break;
    expected = Number.NaN;
  }
  if (!low || !high) throw new Error("no step");
  const actual = {
    low: await blockAt(run, layer, low.tensors),
    high: await blockAt(run, layer, high.tensors),
  };
  const ends = [
    { found: actual.low, wanted: low.expected },
    { found: actual.high, wanted: high.expected },
  ];
  if (ends.every(({ found, wanted }) => found === 0 && wanted === 0)) {
    return note(name, "not checked (dead units): the penalty is 0 and stays 0");
  }
  for (const { found, wanted } of ends) {
    const scale = Math.max(Math.abs(wanted), 1e-30);
    const error = Math.abs(found - wanted) / scale;
    if (!(error <= bound / scale)) {
      const detail = `${shown(found)} beside the data, float64 reference ${shown(wanted)}`;
      return within(name, error, bound / scale, detail);
    }
  }
  if (Number.isNaN(expected)) {
    return note(name, "not checked: the penalty hardly moves when the layer does (dead or saturated units)");
  }
  const change = actual.high - actual.low;
  const error = Math.max(Math.abs(change - expected) - 2 * bound, 0) / Math.abs(expected);
  const changes = `changes by ${shown(change)} along a random direction, float64 reference ${shown(expected)}`;
  if (!(error <= limits.change)) return within(name, error, limits.change, changes);
  const slopes = injected.penalties.map((one) => {
    const alone = { ...injected, penalties: [one] };
    const point = (shift: number) => plainLayer(injected, tensors, along(numbers, direction, shift));
    const own = referenceAt(alone, point(0));
    return checkGradient(name, injected.penalties.length > 1 ? ` of ${one.penalty.definition.name}` : "", {
      ...{ here: own, slope: slopeAlong(own, direction) },
      valueAt: (shift) => (own.held ? own.held(point(shift)) : referenceAt(alone, point(shift)).value),
    });
  });
  const worst = slopes.reduce((a, b) => (rankOf(b) > rankOf(a) ? b : a));
  return { ...worst, detail: [changes, ...slopes.map(({ detail }) => detail)].join("; ") };
}

/** Failures come first, then the largest error. */
const rankOf = ({ status, figure = Number.NEGATIVE_INFINITY }: VerifyCheck): number =>
  status === "failed" ? Number.POSITIVE_INFINITY : figure;

/** Value and gradient of the reference. @throws Error where there is none */
function referenceAt(injected: InjectedSite, layer: PlainLayer): PenaltyReference {
  const value = reference(injected, layer);
  if (typeof value === "string") throw new Error(value);
  return value;
}

interface Ends extends Moved {
  readonly expected: number;
}

/** Compares a penalty's closed-form gradient with differences of its reference at the data. */
function checkGradient(
  name: string,
  penalty: string,
  of: { here: PenaltyReference; slope: number; valueAt: (shift: number) => number },
): VerifyCheck {
  const { here, slope, valueAt } = of;
  let best = { error: Number.POSITIVE_INFINITY, difference: Number.NaN, bend: 0 };
  for (const step of differenceSteps) {
    const [before, behind] = [valueAt(-step), valueAt(step)];
    const difference = (behind - before) / (2 * step);
    const resolution = (1e-14 * Math.abs(here.value)) / step;
    const scale = Math.max(Math.abs(slope), Math.abs(difference));
    if (scale <= 1e-7 * Math.abs(here.value) + resolution) {
      const why = "the responses are saturated: too steep to integrate along, their gradient is 0";
      if (step === differenceSteps.at(-1)) return note(name, `gradient${penalty} not checked: ${why}`);
      continue;
    }
    const error = Math.max(Math.abs(slope - difference) - resolution, 0) / scale;
    const bend = Math.abs(behind - 2 * here.value + before) / step / scale;
    if (error < best.error) best = { error, difference, bend };
    if (error <= limits.slope) break;
  }
  const detail = `slope of the closed-form gradient${penalty} ${shown(slope)}, by differences ${shown(best.difference)}`;
  // If the one-sided differences disagree at every step, this is a kink, where several gradients are correct.
  if (best.error > limits.slope && best.bend > best.error) {
    return note(name, `${detail}: the penalty has a kink there, several gradients are right`);
  }
  return within(name, best.error, limits.slope, detail);
}

function slopeAlong({ gradient }: PenaltyReference, direction: LayerNumbers): number {
  const along = (slopes: Matrix | undefined, moves: Matrix): number =>
    sum((slopes ?? []).map((row, i) => dot(row, moves[i] ?? [])));
  const { responses, weights, bias } = gradient;
  // The reference's gradient of responses is [row][unit].
  const ofResponses = (responses ?? []).reduce(
    (total, row, i) =>
      total + row.reduce((part, slope, unit) => part + slope * (direction.responses[unit]?.[i] ?? 0), 0),
    0,
  );
  return ofResponses + along(weights, direction.weights) + dot(bias ?? [], direction.bias ?? []);
}

/** Random numbers scaled to each unit's root mean square, for a bias to that of its unit's responses; a unit of zeros stays zero. */
function randomDirection({ responses, weights, bias }: LayerNumbers, seed: number): LayerNumbers {
  const random = new Random("direction of verify", seed);
  const sizeOf = (row: readonly number[] = []) => Math.sqrt((3 * dot(row, row)) / Math.max(row.length, 1));
  const draw = (size: number) => size * (2 * random.uniform() - 1);
  const like = (matrix: Matrix): Matrix =>
    matrix.map((row) => {
      const size = sizeOf(row);
      return row.map(() => draw(size));
    });
  return {
    ...{ responses: like(responses), weights: like(weights) },
    bias: bias?.map((_, unit) => draw(sizeOf(responses[unit]))),
  };
}

function along(numbers: LayerNumbers, direction: LayerNumbers, shift: number): LayerNumbers {
  const moved = (matrix: Matrix, moves: Matrix): Matrix =>
    moves.length === 0 ? matrix : matrix.map((row, i) => row.map((x, j) => x + shift * (moves[i]?.[j] ?? 0)));
  return {
    responses: moved(numbers.responses, direction.responses),
    weights: moved(numbers.weights, direction.weights),
    bias: numbers.bias?.map((b, unit) => b + shift * (direction.bias?.[unit] ?? 0)),
  };
}

/** The layer's tensors with new numbers, in their own types. */
function movedTensors({ site }: InjectedSite, tensors: LayerTensors, numbers: LayerNumbers): LayerTensors {
  const filled = (
    tensor: Tensor | undefined,
    places: (dims: readonly number[]) => UnitPlaces,
    matrix: Matrix,
  ) =>
    tensor && matrix.length > 0
      ? tensorOf(tensor.name, tensor.type, tensor.dims, inPlaces(places(tensor.dims), matrix))
      : tensor;
  const factor = addedTo(site)?.factor || 1;
  return {
    response: filled(tensors.response, (dims) => placesOfResponse(dims, site), numbers.responses),
    weight: filled(tensors.weight, (dims) => placesOfWeight(dims, site), numbers.weights),
    bias:
      tensors.bias && numbers.bias
        ? tensorOf(
            tensors.bias.name,
            tensors.bias.type,
            tensors.bias.dims,
            numbers.bias.map((b) => b / factor),
          )
        : tensors.bias,
  };
}

/** The site's scalar as the graph computes it from the layer's tensors. */
async function blockAt(run: VerifyRun, { injected }: ComparedLayer, tensors: LayerTensors): Promise<number> {
  const { bytes, feeds } = blockAlone(run, injected, tensors);
  return scalarOf(await run.probe.run(bytes, feeds, { optimize: false }), injected.marked.value);
}

/** The first samples of a response (rows of its first axis). */
function firstSamples(tensors: LayerTensors, { of, all }: { of: number; all: number }): LayerTensors {
  const { response } = tensors;
  const [first = 1, ...others] = response?.dims ?? [];
  const { data } = response ?? {};
  const rows = Math.max(1, Math.floor((first * of) / all));
  if (!response || !(data instanceof Float32Array || data instanceof Float64Array)) return tensors;
  const dims = [rows, ...others];
  const part = data.subarray(0, (data.length / first) * rows);
  return { ...tensors, response: Tensor.of(response.name, response.type, dims, part) };
}

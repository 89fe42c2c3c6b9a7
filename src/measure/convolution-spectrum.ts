import type { Site } from "../analysis/site-types.ts";
import { dimAt } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
import {
  eigenvalueOperations,
  type NotComputed,
  type SpectralFigures,
  singularValues,
  spectralFigures,
  tooLongConvolution,
} from "./spectrum.ts";
import { symmetricEigenvalues } from "./symmetric-eigenvalues.ts";

/** The singular values of a convolution as a linear map of whole images. */
export interface ConvolutionSpectrum extends SpectralFigures {
  /** Positions that the layer's input (for a ConvTranspose: its output) has on each axis. */
  readonly inputSize: readonly number[];
  /** Positions for which the map was computed: fewer than `inputSize` if that would have taken too long. */
  readonly grid: readonly number[];
  /** Singular values at 0 %, 1 %, … 100 % of their descending order. */
  readonly profile: readonly number[];
}

/** A convolution [channels] → [units] over a torus, its kernel as Conv stores it: [units, channels/groups, …window]. */
interface Convolution {
  readonly kernel: ArrayLike<number>;
  readonly units: number;
  /** Channels that a unit sees. */
  readonly channels: number;
  readonly groups: number;
  readonly window: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Positions of the input on each axis. */
  readonly inputSize: readonly number[];
}

/**
 * The convolution of a site, from the weight that its node reads. A ConvTranspose is the transpose of the convolution from
 * its output to its input with the same kernel, so both have the same singular values.
 */
export function convolutionOf(site: Site, kernel: ArrayLike<number>, dims: readonly number[]): Convolution {
  const { node, op, groups } = site;
  const window = dims.slice(2);
  const ones = window.map(() => 1);
  const image = op === "Conv" ? node.inputs[0]?.shape : undefined;
  const strides = node.ints("strides") ?? ones;
  const positions = (node.inputs[0]?.shape ?? []).slice(2);
  return {
    ...{ kernel, groups, window, strides, dilations: node.ints("dilations") ?? ones },
    units: dimAt(dims, 0),
    channels: dimAt(dims, 1),
    inputSize: image ? positions : positions.map((size, axis) => size * dimAt(strides, axis)),
  };
}

/**
 * Singular values of a convolution with circular padding, that is, of the matrix that maps an input of `inputSize` positions
 * to the output (H. Sedghi, V. Gupta, P. M. Long, "The Singular Values of Convolutional Layers", 2019, theorem 6, whose proof
 * holds for any dilation). A stride keeps every s-th position, which adds up the frequencies that coincide there: the block
 * of an output frequency is [P(ω₁) P(ω₂) …]/√s with P the kernel's Fourier transform at its aliases (and a factor and aliases
 * for each axis). Kernels are real, so a frequency and its negative share their singular values.
 *
 * Most networks pad with zeros, which is a different map at the borders of the image.
 * @param budget - most operations; if the whole input takes more, a smaller one is used. Infinity for no limit
 */
export function convolutionSpectrum(
  convolution: Convolution,
  budget: number,
): ConvolutionSpectrum | NotComputed {
  const { inputSize, strides, groups } = convolution;
  const uneven = inputSize.findIndex((size, axis) => size % dimAt(strides, axis) !== 0);
  if (uneven >= 0) {
    return {
      notComputed: `the stride ${strides[uneven]} does not divide the ${inputSize[uneven]} positions of its input: with circular padding no such convolution is invariant to shifts`,
    };
  }
  const grid = affordableGrid(convolution, budget);
  if (!grid) {
    return { notComputed: tooLongConvolution(operationsOn(convolution, inputSize)) };
  }
  const values: number[] = [];
  for (let group = 0; group < groups; group++) groupValues(convolution, grid, group, values);
  const { units, channels } = convolution;
  const sorted = singularValues(
    values,
    Math.max(units / groups, channels * elementCount(strides)) * elementCount(grid),
  );
  const rank = (percent: number) => Math.round((percent / 100) * (sorted.length - 1));
  return {
    ...spectralFigures(sorted),
    ...{ inputSize, grid },
    profile: Array.from({ length: 101 }, (_, percent) => sorted[rank(percent)] ?? Number.NaN),
  };
}

/** The shorter side of the block of one output frequency. */
const blockSide = ({ units, channels, groups, strides }: Convolution): number =>
  Math.min(units / groups, channels * elementCount(strides));

/** What a frequency costs besides its arithmetic: small arrays, and loops too short to be quick, in operations. */
const perFrequency = 30_000;

/** Operations for a grid: half of its frequencies, each a Hermitian matrix that is computed as a real one of twice its side. */
function operationsOn(convolution: Convolution, grid: readonly number[]): number {
  const { groups, strides, units, channels, window } = convolution;
  const frequencies = (elementCount(grid) / elementCount(strides) / 2) * groups;
  const side = blockSide(convolution);
  const other = Math.max(units / groups, channels * elementCount(strides));
  const transform = 4 * side * other * elementCount(window);
  return frequencies * (perFrequency + eigenvalueOperations(2 * side) + 4 * side * side * other + transform);
}

/** The largest grid within the budget, found by repeated halving; no smaller than the kernel. Undefined if there is none. */
function affordableGrid(convolution: Convolution, budget: number): readonly number[] | undefined {
  const { inputSize, strides, window, dilations } = convolution;
  let grid = inputSize;
  while (operationsOn(convolution, grid) > budget) {
    const smaller = grid.map((size, axis) => {
      const stride = dimAt(strides, axis);
      const reach = (dimAt(window, axis) - 1) * dimAt(dilations, axis) + 1;
      const half = Math.ceil(size / 2 / stride) * stride;
      return half >= reach ? half : size;
    });
    if (smaller.every((size, axis) => size === grid[axis])) return undefined;
    grid = smaller;
  }
  return grid;
}

/** Appends the squared singular values of one group. */
function groupValues(
  convolution: Convolution,
  grid: readonly number[],
  group: number,
  values: number[],
): void {
  const outputs = grid.map((positions, axis) => positions / dimAt(convolution.strides, axis));
  for (const output of indices(outputs)) {
    const mirrored = output.map((index, axis) => (dimAt(outputs, axis) - index) % dimAt(outputs, axis));
    const order = compare(output, mirrored);
    if (order > 0) continue;
    const squares = eigenvaluesOfGram(blockAt(convolution, grid, group, output));
    for (const square of squares) {
      values.push(square);
      if (order < 0) values.push(square);
    }
  }
}

/** A complex matrix [rows, length] that is no taller than wide. */
interface ComplexMatrix {
  readonly rows: number;
  readonly length: number;
  readonly real: Float64Array;
  readonly imaginary: Float64Array;
}

/** [P(ω₁) P(ω₂) …]/√s of an output frequency, transposed where it has more rows than columns. */
function blockAt(
  convolution: Convolution,
  grid: readonly number[],
  group: number,
  output: readonly number[],
): ComplexMatrix {
  const { kernel, units, channels, groups, strides, window } = convolution;
  const size = units / groups;
  const taps = elementCount(window);
  const aliases = [...indices(strides)];
  const columns = channels * aliases.length;
  const rows = Math.min(size, columns);
  const length = Math.max(size, columns);
  const real = new Float64Array(rows * length);
  const imaginary = new Float64Array(rows * length);
  const scale = 1 / Math.sqrt(aliases.length);
  aliases.forEach((alias, place) => {
    const frequency = output.map(
      (index, axis) => index + (dimAt(alias, axis) * dimAt(grid, axis)) / dimAt(strides, axis),
    );
    const { cosines, sines } = phasesAt(convolution, grid, frequency);
    for (let unit = 0; unit < size; unit++) {
      for (let channel = 0; channel < channels; channel++) {
        const from = ((group * size + unit) * channels + channel) * taps;
        let [re, im] = [0, 0];
        for (let tap = 0; tap < taps; tap++) {
          const weight = kernel[from + tap] as number;
          re += weight * (cosines[tap] as number);
          im += weight * (sines[tap] as number);
        }
        const column = channel * aliases.length + place;
        const to = size <= columns ? unit * length + column : column * length + unit;
        real[to] = re * scale;
        imaginary[to] = im * scale;
      }
    }
  });
  return { rows, length, real, imaginary };
}

/** e^(iΣω·t) at every tap t of the window, for the frequency ω = 2π·index/positions on each axis. */
function phasesAt(
  { window, dilations }: Convolution,
  grid: readonly number[],
  frequency: readonly number[],
): { cosines: Float64Array; sines: Float64Array } {
  const angles = [...indices(window)].map((tap) =>
    tap.reduce((sum, offset, axis) => {
      const turns = (offset * dimAt(dilations, axis) * dimAt(frequency, axis)) % dimAt(grid, axis);
      return sum + (2 * Math.PI * turns) / dimAt(grid, axis);
    }, 0),
  );
  return { cosines: Float64Array.from(angles, Math.cos), sines: Float64Array.from(angles, Math.sin) };
}

/** Eigenvalues of PPᴴ for P = A + iB. The real matrix [[S, −T], [T, S]] has the eigenvalues of the Hermitian S + iT, each twice. */
function eigenvaluesOfGram({ rows: n, length, real: a, imaginary: b }: ComplexMatrix): Float64Array {
  const both = new Float64Array(4 * n * n);
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) {
      let [s, t] = [0, 0];
      for (let p = i * length, q = j * length; p < (i + 1) * length; p++, q++) {
        s += (a[p] as number) * (a[q] as number) + (b[p] as number) * (b[q] as number);
        t += (b[p] as number) * (a[q] as number) - (a[p] as number) * (b[q] as number);
      }
      // The upper triangle: S twice, and −T with its mirror image T.
      both[i * 2 * n + j] = s;
      both[(n + i) * 2 * n + n + j] = s;
      both[i * 2 * n + n + j] = -t;
      both[j * 2 * n + n + i] = t;
    }
  }
  return symmetricEigenvalues(both, 2 * n).filter((_, index) => index % 2 === 0);
}

/** Every index of an array of that shape, in order. */
function* indices(shape: readonly number[]): Generator<readonly number[]> {
  const count = elementCount(shape);
  for (let flat = 0; flat < count; flat++) {
    const index: number[] = [];
    let rest = flat;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = rest % dimAt(shape, axis);
      rest = Math.floor(rest / dimAt(shape, axis));
    }
    yield index;
  }
}

/** Which of two indices comes first: −1, 0 or 1. */
function compare(a: readonly number[], b: readonly number[]): number {
  for (const [axis, index] of a.entries()) {
    if (index !== dimAt(b, axis)) return index < dimAt(b, axis) ? -1 : 1;
  }
  return 0;
}

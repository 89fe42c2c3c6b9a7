import { elementCount, type Tensor } from "../onnx/tensor.ts";

/** How many numbers of a large tensor are examined. */
const most = 4096;

/** From larger tables only the first rows are read, so that a gigabyte of weights is not loaded. */
const mostRead = 2 ** 22;

/**
 * Recognizes constants whose numbers neither training nor initialization would produce (masks, grids, progressions, tables of
 * sines) and describes them. Undefined if the numbers could be trained.
 */
export function signOfConstant(whole: Tensor): string | undefined {
  const tensor = whole.beginning(mostRead);
  const all = numbersOf(tensor);
  const part = Array.from({ length: Math.min(all.length, most) }, (_, i) => all[i] ?? 0);
  // Masks hold −inf or numbers so low that softmax turns them into zero.
  if (some(all, (number) => !(Math.abs(number) < 1e4))) return "it holds −inf or numbers as large: a mask";
  if (all.length < 2 || isFilled(tensor)) return undefined;
  const distinct = new Set(part);
  if (distinct.size === 2 && distinct.has(0) && part.length > 2)
    return "it holds two numbers, one of them 0: a mask";
  if (part.length > 2 && part.every(Number.isInteger))
    return "it holds whole numbers: a grid, a mask or a table";
  return signOfSeries(tensor);
}

/** Recognizes progressions and tables of sines: numbers that not even the weight of a layer begins with. */
export function signOfSeries(whole: Tensor): string | undefined {
  const tensor = whole.beginning(mostRead);
  const { dims } = tensor;
  const all = numbersOf(tensor);
  if (isProgression(all, dims)) return "its numbers are evenly spaced";
  if (isTableOfSines(all, dims) || isWave(all, dims)) return "it is a table of sines";
  return undefined;
}

/** Whether all numbers are the same. */
export function isFilled(tensor: Tensor): boolean {
  const first = tensor.beginning(most);
  const filled = (all: ArrayLike<number>) => !some(all, (number) => number !== all[0]);
  return filled(numbersOf(first)) && (first === tensor || filled(numbersOf(tensor)));
}

/** The numbers; not copied if stored as float32 or float64. */
export const numbersOf = (tensor: Tensor): ArrayLike<number> =>
  tensor.data instanceof Float32Array || tensor.data instanceof Float64Array ? tensor.data : tensor.numbers();

function some(numbers: ArrayLike<number>, test: (number: number, index: number) => boolean): boolean {
  for (let i = 0; i < numbers.length; i++) if (test(numbers[i] ?? 0, i)) return true;
  return false;
}

const near = (a: number, b: number, scale: number): boolean => Math.abs(a - b) <= 1e-4 * Math.abs(scale);

/** Whether the numbers have a constant difference or ratio along one axis and do not change along the others. */
function isProgression(numbers: ArrayLike<number>, dims: readonly number[]): boolean {
  return dims.some((length, axis) => {
    if (length < 4) return false;
    const step = elementCount(dims.slice(axis + 1));
    const line = Array.from({ length }, (_, i) => numbers[i * step] ?? Number.NaN);
    const constant = !some(numbers, (number, i) => number !== line[Math.floor(i / step) % length]);
    return constant && (isEven(line) || (line.every((number) => number > 0) && isEven(line.map(Math.log))));
  });
}

function isEven(line: readonly number[]): boolean {
  const [first = 0, second = 0] = line;
  const difference = second - first;
  const span = (line.at(-1) ?? 0) - first;
  return difference !== 0 && line.every((number, i) => near(number, first + i * difference, span));
}

/** Whether each row consists of pairs of a sine and a cosine: its squares sum to half of its length. */
function isTableOfSines(numbers: ArrayLike<number>, dims: readonly number[]): boolean {
  const width = dims.at(-1) ?? 0;
  if (width < 2 || width % 2 !== 0 || numbers.length < 3 * width) return false;
  let rows = 0;
  for (let start = 0; start < Math.min(numbers.length, most * width); start += width) {
    let square = 0;
    for (let i = start; i < start + width; i++) square += (numbers[i] ?? 0) ** 2;
    // The row of a token without a position is all zeros.
    if (square === 0) continue;
    if (!near(square, width / 2, width)) return false;
    rows++;
  }
  return rows > 1;
}

/**
 * Whether all lines along one axis are sines or cosines of an evenly growing angle, as in the tables of rotary positions:
 * x(t − 1) + x(t + 1) = 2 cos(φ) x(t).
 */
function isWave(numbers: ArrayLike<number>, dims: readonly number[]): boolean {
  return dims.some((length, axis) => {
    // At large angles float32 rounds the angle itself.
    const count = Math.min(length, 32);
    const step = elementCount(dims.slice(axis + 1));
    const lines = Math.min(Math.floor(numbers.length / length), most);
    if (count < 6 || lines === 0) return false;
    let turns = false;
    for (let i = 0; i < lines; i++) {
      const first = Math.floor(i / step) * length * step + (i % step);
      const line = Array.from({ length: count }, (_, t) => numbers[first + t * step] ?? Number.NaN);
      const inner = line.slice(1, -1);
      const around = inner.map((_, t) => (line[t] as number) + (line[t + 2] as number));
      const square = inner.reduce((sum, x) => sum + x * x, 0);
      const twice = square && inner.reduce((sum, x, t) => sum + x * (around[t] as number), 0) / square;
      const largest = Math.max(...line.map(Math.abs));
      if (!(Math.abs(twice) <= 2.0001)) return false;
      turns ||= square > 0 && twice < 1.99;
      if (inner.some((x, t) => !(Math.abs((around[t] as number) - twice * x) <= 2e-5 * largest)))
        return false;
    }
    return turns;
  });
}

import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { spreadWindows, windowSlices } from "./convolution-gradients.ts";
import { isPartition, kernelPositions, type WindowGeometry } from "./window-geometry.ts";

/** Value of the padding: the lowest finite number, since not every backend accepts −∞ as a constant. */
const lowest = (type: string) => (type === "double" ? -1e308 : -3.4028234e38);

/** A row of windows of up to this many elements is handled by MatMul with stored matrices of (row length)² numbers. */
const matrixUpTo = 128;

/**
 * Gradient of y = MaxPool(x): the first element of each window (row-major) that equals the maximum gets all of dy, as in
 * PyTorch. MaxPool's Indices output is not used: WebGPU has none, and on the CPU it costs more than this.
 * `x` and `y` are {@link comparable}; the gradient has dy's type.
 */
export function maxPoolGradient(g: Emit, x: Typed, y: Typed, dy: Typed, geometry: WindowGeometry): Typed {
  const { kernel, input } = geometry;
  // Elements of one row of windows; contiguous in memory if all earlier axes have kernel length 1.
  const rowLength = dimAt(input, -1) * (kernel.length > 1 ? dimAt(kernel, -2) : 1);
  const planar = kernel.slice(0, -2).every((size) => size === 1);
  if (isPartition(geometry) && planar && rowLength <= matrixUpTo) return byMatrices(g, x, y, dy, geometry);
  return bySlices(g, x, y, dy, geometry);
}

/**
 * For windows that partition the input: with E = [x = y] over one row of windows, E·(I − earlier) is 1 exactly at the
 * first maximum. Products with constant 0/1 matrices copy y and dy to all elements of their windows and count earlier
 * maxima; they are exact, and faster than broadcasting over inner axes.
 */
function byMatrices(g: Emit, x: Typed, y: Typed, dy: Typed, geometry: WindowGeometry): Typed {
  const { kernel, input, output } = geometry;
  const [kernelWidth, width] = [dimAt(kernel, -1), dimAt(input, -1)];
  const kernelHeight = kernel.length > 1 ? dimAt(kernel, -2) : 1;
  const [windows, elements] = [dimAt(output, -1), kernelHeight * width];
  const rows = elementCount(x.shape) / elements;
  const windowOf = (element: number) => Math.floor((element % width) / kernelWidth);
  const orderOf = (element: number) =>
    Math.floor(element / width) * kernelWidth + ((element % width) % kernelWidth);

  const copy = matrix(g, windows, elements, (window, element) => (windowOf(element) === window ? 1 : 0));
  const first = matrix(g, elements, elements, (earlier, element) => {
    if (earlier === element) return 1;
    return windowOf(earlier) === windowOf(element) && orderOf(earlier) < orderOf(element) ? -1 : 0;
  });
  const copied = (value: Typed) => g.matMul(g.reshape(value, [rows, windows]), g.cast(copy, value.type));
  const attains = g.indicator(g.equal(g.reshape(x, [rows, elements]), copied(y)), dy.type);
  const chosen = g.relu(g.matMul(attains, g.cast(first, dy.type)));
  return g.reshape(g.mul(chosen, copied(dy)), x.shape);
}

function matrix(
  g: Emit,
  rows: number,
  columns: number,
  entry: (row: number, column: number) => number,
): Typed {
  checkStored(rows * columns);
  const data = Float32Array.from({ length: rows * columns }, (_, i) =>
    entry(Math.floor(i / columns), i % columns),
  );
  return g.constant("float", [rows, columns], data);
}

/**
 * For any windows: kernel position by kernel position, finds the windows whose maximum stands there and was not found
 * earlier; one convolution then spreads all positions' shares over the input.
 */
function bySlices(g: Emit, x: Typed, y: Typed, dy: Typed, geometry: WindowGeometry): Typed {
  const { kernel, input, output } = geometry;
  const [batch, channels] = x.shape as [number, number];
  const positions = kernelPositions(kernel);
  let left = dy;
  const shares = windowSlices(g, x, geometry, lowest(x.type)).map((slice, position) => {
    const share = g.mul(g.indicator(g.equal(slice, y), dy.type), left);
    if (position < positions.length - 1) left = g.sub(left, share);
    return g.reshape(share, [batch * channels, 1, ...output]);
  });
  const onePosition = matrix(g, positions.length, positions.length, (share, position) =>
    share === position ? 1 : 0,
  );
  const weight = g.reshape(g.cast(onePosition, dy.type), [positions.length, 1, ...kernel]);
  return g.reshape(spreadWindows(g, g.concat(shares, 1), weight, geometry, 1), [batch, channels, ...input]);
}

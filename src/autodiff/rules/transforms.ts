import { SorthError } from "../../errors.ts";
import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import type { RuleContext, RuleTable, SampleInput } from "../rule.ts";

/** `x` with one axis padded with zeros or cropped at its end, to `length`. */
function resized(g: Emit, x: Typed, axis: number, length: number): Typed {
  const rest = length - dimAt(x.shape, axis);
  return g.pad(x, [...x.shape.map(() => 0), ...x.shape.map((_, other) => (other === axis ? rest : 0))]);
}

/** Real and imaginary parts (`count` 2), or real parts only (`count` 1). */
const parts = (g: Emit, x: Typed, count: number): Typed =>
  g.slice(x, [{ axis: x.shape.length - 1, start: 0, length: count }]);

/** For each frequency of a one-sided spectrum of `length` samples: 2 if it has a mirror image, else 1. */
const multiplicity = (length: number): number[] =>
  Array.from({ length: Math.floor(length / 2) + 1 }, (_, k) => (k === 0 || 2 * k === length ? 1 : 2));

/** Applies the conjugate transpose of the transform: F* = n·F⁻¹, and F⁻* = F/n. */
function dftGradient(context: RuleContext, dy: Typed, g: Emit): Typed {
  const { node } = context;
  const x = context.input(0);
  const rank = x.shape.length;
  const axis = normalizeAxis(g.opset >= 20 ? (context.constant(2)?.[0] ?? -2) : node.int("axis", 1), rank);
  const [inverse, onesided] = [node.flag("inverse"), node.flag("onesided")];
  const length = dimAt(dy.shape, axis);
  if (inverse && onesided) {
    checkStored(length);
    // A real signal from half a spectrum: each frequency with a mirror image counts twice.
    const counts = multiplicity(length).map((count) => count / length);
    const weights = g.reshape(
      g.cast(g.constant("float", [counts.length], Float32Array.from(counts)), x.type),
      x.shape.map((_, other) => (other === axis ? counts.length : 1)),
    );
    return resized(g, g.mul(g.dft(dy, axis, { onesided: true }), weights), axis, dimAt(x.shape, axis));
  }
  const n = onesided ? lengthOf(context, axis) : length;
  const spectrum = onesided ? resized(g, dy, axis, n) : dy;
  const adjoint = inverse
    ? g.mul(g.dft(spectrum, axis), 1 / n)
    : g.mul(g.dft(spectrum, axis, { inverse: true }), n);
  return resized(g, parts(g, adjoint, dimAt(x.shape, rank - 1)), axis, dimAt(x.shape, axis));
}

/** Length of the transform; default: the input's length. */
const lengthOf = (context: RuleContext, axis: number): number =>
  context.constant(1)?.[0] ?? dimAt(context.input(0).shape, axis);

/** Positions of each frame's samples in the signal, [frames, length]. */
function framePositions(context: RuleContext, g: Emit, frames: number, length: number): Typed {
  const step = context.constant(1)?.[0] ?? 1;
  checkStored(frames * length);
  const positions = Array.from({ length: frames * length }, (_, i) =>
    BigInt(Math.floor(i / length) * step + (i % length)),
  );
  return g.constant("int64", [frames, length], BigInt64Array.from(positions));
}

/** The gradient of each windowed sample of a real signal, from a spectrogram's gradient: [batch, frames, length, 1]. */
function frameGradient(dy: Typed, g: Emit, length: number): Typed {
  const spectrum = resized(g, dy, 2, length);
  return parts(g, g.mul(g.dft(spectrum, 2, { inverse: true }), length), 1);
}

/** Samples per frame: the window's length, the given length, or the whole signal. */
const frameLength = (context: RuleContext): number =>
  context.inputs[2]?.shape[0] ?? context.constant(3)?.[0] ?? dimAt(context.input(0).shape, 1);

const number = (value: number): SampleInput => ({ shape: [], constant: [value] });
const floatOnly = "ONNX Runtime's float64 inverse divides by a length rounded to float32";
const onesided = { onesided: int(1) };
const inverse = { inverse: int(1) };

export const transforms = {
  DFT: {
    vjp: (context, dy, g) => [() => dftGradient(context, dy, g), null, null],
    samples: [
      { inputs: [[2, 5, 1]], opset: 18 },
      { inputs: [[2, 5, 2]], opset: 18 },
      { inputs: [[2, 3, 4, 2]], attributes: { axis: int(2), ...inverse }, opset: 18 },
      { inputs: [[2, 8, 1]], attributes: onesided, opset: 18 },
      { inputs: [[2, 6, 1]], attributes: onesided, opset: 18, floatOnly },
      { inputs: [[2, 5, 1], number(8)], attributes: onesided, opset: 18, note: "padded" },
      { inputs: [[2, 5, 1], number(3)], opset: 18, note: "cut" },
      { inputs: [[2, 5, 2]], opset: 20 },
      { inputs: [[2, 5, 2], null, number(-3)], attributes: inverse, opset: 20 },
      { inputs: [[2, 5, 1], number(7), number(1)], attributes: onesided, opset: 20, floatOnly },
      { inputs: [[2, 4, 2], number(6)], attributes: { ...inverse, ...onesided }, opset: 20 },
      { inputs: [[2, 4, 2], number(7)], attributes: { ...inverse, ...onesided }, opset: 20 },
    ],
    linear: true,
  },
  // Transforms overlapping frames, each weighted by the window; the gradients of the frames add up where they overlap.
  STFT: {
    vjp: (context, dy, g) => {
      const signal = context.input(0);
      const [batch, samples] = [dimAt(signal.shape, 0), dimAt(signal.shape, 1)];
      const [frames, length] = [dimAt(dy.shape, 1), frameLength(context)];
      if (dimAt([...signal.shape, 1], 2) !== 1) {
        throw new SorthError(
          `cannot differentiate STFT (node "${context.node.label}") of a complex signal: ONNX Runtime 1.30 computes it wrongly`,
        );
      }
      return [
        () => {
          const frame = frameGradient(dy, g, length);
          const window = context.inputs[2];
          const weighted = window ? g.mul(frame, g.reshape(window, [length, 1])) : frame;
          const positions = g.reshape(framePositions(context, g, frames, length), [frames, length, 1]);
          const zeros = g.filled(0, [samples, batch, 1], signal.type);
          const sum = g.scatterAdd(zeros, positions, g.transpose(weighted, [1, 2, 0, 3]));
          return g.reshape(g.transpose(sum, [1, 0, 2]), signal.shape);
        },
        null,
        () => {
          const whole = g.reshape(signal, [batch, samples, 1]);
          const framed = g.gather(whole, framePositions(context, g, frames, length), 1);
          return g.reduceSum(g.mul(frameGradient(dy, g, length), framed), [0, 1, 3]);
        },
        null,
      ];
    },
    samples: [
      { inputs: [[2, 9, 1], number(2), [4]] },
      { inputs: [[1, 9, 1], number(3), [5], number(5)], attributes: { onesided: int(0) } },
      { inputs: [[2, 8, 1], number(2), null, number(4)], note: "no window" },
    ],
  },
} satisfies RuleTable;

import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { lazy } from "../lazy.ts";
import type { RuleContext, Thunk } from "../rule.ts";
import { PointSampling } from "./point-sampling.ts";
import { kernelPositions, windowGeometry } from "./window-geometry.ts";

/**
 * DeformConv multiplies W with columns that are interpolated between the elements of X: y = W · (mask ∘ samples of X).
 * Samples: [N·offset groups, kernel positions · points, channels of a group]; columns: [N, group, C/group · positions, points].
 */
export function deformableConvolution(context: RuleContext, dy: Typed, g: Emit): (Thunk | null)[] {
  const { node } = context;
  const [x, w, offset] = [context.input(0), context.input(1), context.input(2)];
  const [batch, channels, ...spatial] = x.shape as [number, number, ...number[]];
  const [filters, , ...kernel] = w.shape as [number, number, ...number[]];
  const output = dy.shape.slice(2);
  const [positions, points] = [elementCount(kernel), elementCount(output)];
  const [group, offsetGroups] = [node.int("group", 1), node.int("offset_group", 1)];
  // Once for each axis.
  checkStored(positions * points, 2);
  const images = batch * offsetGroups;
  const perImage = channels / offsetGroups;

  const { strides, dilations, begin } = windowGeometry(node, kernel, spatial, output);
  /** The coordinates along an axis that a plain convolution would read: [positions · points]. */
  const regular = (axis: number) => {
    const at = (list: readonly number[]) => dimAt(list, axis);
    const after = elementCount(output.slice(axis + 1));
    const reads = kernelPositions(kernel).flatMap((position) =>
      Array.from({ length: points }, (_, point) => {
        const window = Math.floor(point / after) % at(output);
        return window * at(strides) - at(begin) + at(position) * at(dilations);
      }),
    );
    return g.numbers(reads, [positions * points], x.type);
  };
  const axes = kernel.length;
  const sampling = lazy(() => {
    const offsets = g.reshape(offset, [images, positions, axes, points]);
    const at = kernel.map((_, axis) => {
      const along = g.slice(offsets, [{ axis: 2, start: axis, length: 1 }]);
      return g.add(g.reshape(along, [images, positions * points]), regular(axis));
    });
    const image = g.reshape(x, [images, perImage, ...spatial]);
    return new PointSampling(g, image, at, { kernel: "linear", beyond: "zeros", cornersAligned: false });
  });
  const mask = context.inputs[4];
  const masked = (rows: Typed) =>
    mask ? g.mul(rows, g.reshape(mask, [images, positions * points, 1])) : rows;

  const columnLength = (channels / group) * positions;
  const given = lazy(() => g.reshape(dy, [batch, group, filters / group, points]));
  const rows = lazy(() => sampling().rows());
  const rowGradients = lazy(() => {
    const weights = g.reshape(w, [group, filters / group, columnLength]);
    const gradient = g.matMul(g.transposeLast(weights), given());
    return g.transposeLast(g.reshape(gradient, [images, perImage, positions * points]));
  });
  return [
    () => g.reshape(sampling().imageGradient(masked(rowGradients())), x.shape),
    () => {
      const columns = g.reshape(g.transposeLast(masked(rows())), [batch, group, columnLength, points]);
      return g.reshape(g.reduceSum(g.matMul(given(), g.transposeLast(columns)), [0]), w.shape);
    },
    () => {
      const along = sampling()
        .positionGradients(masked(rowGradients()))
        .map((gradient) => g.reshape(gradient, [images, positions, 1, points]));
      return g.reshape(g.concat(along, 2), offset.shape);
    },
    () => g.reduceSum(dy, [0, ...output.map((_, axis) => axis + 2)]),
    () => g.reshape(g.reduceSum(g.mul(rows(), rowGradients()), [2]), context.input(4).shape),
  ];
}

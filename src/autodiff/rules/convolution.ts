import { SorthError } from "../../errors.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, isGroupCount } from "../../graph/shapes.ts";
import type { RuleContext, RuleTable } from "../rule.ts";
import { kernelGradient, slideWindows, spreadWindows } from "./convolution-gradients.ts";
import { convolutionSamples } from "./convolution-samples.ts";
import { transposedSamples } from "./transposed-convolution-samples.ts";
import { transposedGeometry, windowGeometry } from "./window-geometry.ts";

const spatial = (value: Typed) => value.shape.slice(2);

/** Σ over the batch and space: [N, C, …] → [C]. */
const biasGradient = (g: Emit, dy: Typed) =>
  g.reduceSum(
    dy,
    allAxes(dy.shape.length).filter((axis) => axis !== 1),
  );

/** The operands of a convolution. @param channelAxis - the axis of the weight that counts the channels of x, or those of one group */
function operands(context: RuleContext, channelAxis: 0 | 1) {
  const { node } = context;
  const [x, w, y] = [context.input(0), context.input(1), context.output(0)];
  const group = node.int("group", 1);
  const refuse = (reason: string) =>
    new SorthError(
      `cannot differentiate ${node.op} (node "${node.label}"): its weight of shape [${w.shape}] ${reason}`,
    );
  if (!isGroupCount(group, w.shape)) throw refuse(`has no ${group} groups`);
  const channels = dimAt(w.shape, channelAxis) * (channelAxis === 1 ? group : 1);
  if (channels !== dimAt(x.shape, 1)) {
    throw refuse(`takes ${channels} channels, and its input of shape [${x.shape}] has ${dimAt(x.shape, 1)}`);
  }
  return { x, w, y, group };
}

export const convolution = {
  // dX spreads dY through the kernel; dW weighs the windows of X by dY; dB sums dY.
  Conv: {
    vjp: (context, dy, g) => {
      const { x, w, y, group } = operands(context, 1);
      const geometry = windowGeometry(context.node, spatial(w), spatial(x), spatial(y));
      return [
        () => spreadWindows(g, dy, w, geometry, group),
        () => kernelGradient(g, x, dy, geometry, group),
        () => biasGradient(g, dy),
      ];
    },
    linear: true,
    samples: convolutionSamples,
  },

  // The adjoint of Conv: dX convolves dY; dW weighs the windows of dY by X.
  ConvTranspose: {
    vjp: (context, dy, g) => {
      const { x, w, y, group } = operands(context, 0);
      const geometry = transposedGeometry(context.node, spatial(w), spatial(x), spatial(y));
      return [
        () => slideWindows(g, dy, w, geometry, group),
        () => kernelGradient(g, dy, x, geometry, group),
        () => biasGradient(g, dy),
      ];
    },
    linear: true,
    samples: transposedSamples,
  },
} satisfies RuleTable;

import { int, string } from "../../graph/attribute.ts";
import { dimAt } from "../../graph/shapes.ts";
import type { RuleTable, SampleInput } from "../rule.ts";

const number = (value: number): SampleInput => ({ shape: [], constant: [value] });
const lengths = (...values: number[]): SampleInput => ({ shape: [values.length], constant: values });

/** Operators that only move elements; their gradients move back. */
export const rearrangement = {
  // [N, C, H, b, W, b] → [N, b, b, C, H, W] (DCR) or [N, C, b, b, H, W] (CRD)
  DepthToSpace: {
    vjp: (context, dy, g) => [
      () => {
        const block = context.node.int("blocksize", 1);
        const [n, depth, height, width] = context.input(0).shape as [number, number, number, number];
        const channels = depth / block ** 2;
        const split = g.reshape(dy, [n, channels, height, block, width, block]);
        const depthFirst = context.node.string("mode", "DCR") === "DCR";
        const moved = g.transpose(split, depthFirst ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4]);
        return g.reshape(moved, context.input(0).shape);
      },
    ],
    samples: [
      { inputs: [[2, 8, 2, 3]], attributes: { blocksize: int(2) } },
      { inputs: [[2, 8, 2, 3]], attributes: { blocksize: int(2), mode: string("CRD") } },
      { inputs: [[1, 9, 1, 2]], attributes: { blocksize: int(3) } },
    ],
    linear: true,
  },
  // [N, b, b, C, H, W] → [N, C, H, b, W, b]
  SpaceToDepth: {
    vjp: (context, dy, g) => [
      () => {
        const block = context.node.int("blocksize", 1);
        const { shape } = context.input(0);
        const [n, channels] = [dimAt(shape, 0), dimAt(shape, 1)];
        const [height, width] = [dimAt(dy.shape, 2), dimAt(dy.shape, 3)];
        const split = g.reshape(dy, [n, block, block, channels, height, width]);
        return g.reshape(g.transpose(split, [0, 3, 4, 1, 5, 2]), shape);
      },
    ],
    samples: [
      { inputs: [[2, 2, 4, 6]], attributes: { blocksize: int(2) } },
      { inputs: [[1, 1, 3, 6]], attributes: { blocksize: int(3) } },
    ],
    linear: true,
  },
  // The gradient is the same triangle of dy.
  Trilu: {
    vjp: (context, dy, g) => [
      () => g.trilu(dy, context.constant(1)?.[0] ?? 0, context.node.flag("upper", true)),
      null,
    ],
    samples: [
      { inputs: [[3, 4]] },
      { inputs: [[3, 4], number(1)] },
      { inputs: [[2, 4, 3], number(-1)], attributes: { upper: int(0) } },
      { inputs: [[3, 3]], attributes: { upper: int(0) } },
      { inputs: [[3, 3], number(5)], note: "nothing left" },
      { inputs: [[0, 3]], note: "empty" },
    ],
    linear: true,
  },
  // Reversing is its own inverse.
  ReverseSequence: {
    vjp: (context, dy, g) => [
      () =>
        g.reverseSequence(dy, context.input(1), {
          batchAxis: context.node.int("batch_axis", 1),
          timeAxis: context.node.int("time_axis", 0),
        }),
      null,
    ],
    samples: [
      { inputs: [[4, 3], lengths(4, 2, 1)] },
      { inputs: [[3, 4, 2], lengths(4, 2, 3)], attributes: { batch_axis: int(0), time_axis: int(1) } },
    ],
    linear: true,
  },
} satisfies RuleTable;

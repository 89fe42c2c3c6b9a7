import { SorthError } from "../../errors.ts";
import { string } from "../../graph/attribute.ts";
import { allAxes, normalizeAxis } from "../../graph/shapes.ts";
import type { RuleTable } from "../rule.ts";

const vector = (...values: number[]) => ({ shape: [values.length], constant: values });

export const padding = {
  // The border is cut off again.
  Pad: {
    vjp: (context, dy, g) => {
      const { node } = context;
      const mode = node.string("mode", "constant");
      if (mode !== "constant") {
        throw new SorthError(
          `cannot differentiate Pad (node "${node.label}"): no rule for mode "${mode}" yet`,
        );
      }
      const { shape } = context.input(0);
      const rank = shape.length;
      const axes = (context.constant(3) ?? allAxes(rank)).map((axis) => normalizeAxis(axis, rank));
      const given = context.constant(1) ?? [];
      const back = new Array<number>(2 * rank).fill(0);
      axes.forEach((axis, index) => {
        back[axis] = -(given[index] ?? 0);
        back[axis + rank] = -(given[index + axes.length] ?? 0);
      });
      return [() => g.pad(dy, back), null, null, null];
    },
    samples: [
      { inputs: [[2, 3], vector(0, 1, 2, 0)] },
      { inputs: [[2, 3], vector(0, -1, 1, 0)], note: "cropped" },
      {
        inputs: [[2, 3], vector(1, 2), { shape: [], constant: [5], type: "float" }, vector(1)],
        note: "axes",
      },
      { inputs: [[2, 3], vector(0, 1, 1, 0)], attributes: { mode: string("constant") } },
    ],
    linear: true,
  },
} satisfies RuleTable;

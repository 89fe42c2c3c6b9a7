import type { Site } from "../analysis/site-types.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Penalty, PenaltySubject } from "./penalty.ts";

/** What a penalty reads, given its options. */
export function subjectOf({ definition: { on }, options }: Penalty): PenaltySubject {
  return typeof on === "function" ? on(options) : on;
}

/** Whether a penalty can act on a layer: true, or why not. */
export function appliesTo(penalty: Penalty, site: Site): true | string {
  const { definition, options } = penalty;
  const { name, ops } = definition;
  if (site.units < 2) return "one unit has no pairs";
  if (site.units / site.groups < 2) return "depthwise: each unit sees another channel";
  if (ops && !ops.includes(site.op)) return `it is a ${site.op}; ${name} takes ${ops.join(", ")}`;
  if (subjectOf(penalty) === "responses") {
    const { type } = site.response;
    if (site.body) return site.body.reason;
    if (!isFloat(type)) return `its response is ${type ?? "of an unknown type"}, not a float`;
    if (!site.response.shape) return `the shape of its response "${site.response.name}" is not known`;
    if (site.rowsFixed && site.rows < 2)
      return "one row has no angles: use a larger batch (where the file fixes it at 1, sorth-onnx free-batch frees it), or a penalty on weights (so, som:rows=random, som:angles=weights)";
  } else {
    const weight = site.node.inputs[site.weightInput];
    if (!isFloat(weight?.type)) return `its weight is ${weight?.type ?? "of an unknown type"}, not a float`;
    if (!weight?.shape) return `the shape of its weight "${weight?.name}" is not known`;
  }
  return definition.applies?.(site, options) ?? true;
}

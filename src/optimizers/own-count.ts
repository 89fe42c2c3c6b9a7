import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { ParameterSpec } from "./transformation.ts";

/** The number of the update as each parameter counts it, from the count of the run; 1 while a parameter waits. */
export const ownCounts =
  (g: Emit, count: (type: DataTypeName) => Typed) =>
  (of: ParameterSpec | DataTypeName): Typed => {
    if (typeof of === "string") return count(of);
    const { type, idle } = of;
    const all = count(type);
    return idle ? g.once(`${all.name} after ${idle}`, () => g.max(g.sub(all, idle), 1)) : all;
  };

/** The same on plain numbers. */
export const ownCount = (step: number, { idle = 0 }: Pick<ParameterSpec, "idle">): number =>
  idle === 0 ? step : Math.max(step - idle, 1);

import * as ort from "onnxruntime-node";
import { encodeModel, type Model, type Tensor } from "../../src/index.ts";
import { fromOrt, toOrt } from "./run-model.ts";

/** Tensors by name. */
export type Values = Record<string, Tensor>;

/** A model as a function of named tensors, on one thread of the CPU. */
export async function opened(model: Model): Promise<(feeds: Values) => Promise<Values>> {
  const session = await ort.InferenceSession.create(encodeModel(model), { intraOpNumThreads: 1 });
  return async (feeds) => {
    const own = Object.fromEntries(session.inputNames.map((name) => [name, toOrt(feeds[name] as Tensor)]));
    const results = await session.run(own);
    return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, fromOrt(name, value)]));
  };
}

/** The state with every output `x.next` in the place of the input `x`. */
export const advanced = (state: Values, outputs: Values): Values => ({
  ...state,
  ...Object.fromEntries(
    Object.entries(outputs).flatMap(([name, tensor]) =>
      name.endsWith(".next") ? [[name.slice(0, -".next".length), tensor]] : [],
    ),
  ),
});

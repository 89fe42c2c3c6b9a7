import type { Probe } from "../analysis/probe.ts";
import { RuntimeError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** An injected model with the runtime and the data to run it. */
export interface VerifyRun {
  readonly model: Model;
  /** The graph of that model. */
  readonly graph: Graph;
  /** The original with its functions written out, if layers inside them have penalties: their numbers are read from it. */
  readonly written?: Model;
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly probe: Probe;
  readonly seed: number;
}

export type Results = ReadonlyMap<string, Tensor>;

/** An output of a run. @throws SorthError if the run did not return it. */
export function resultOf(results: Results, name: string): Tensor {
  const result = results.get(name);
  if (!result) throw new RuntimeError(`ONNX Runtime returned no "${name}"`);
  return result;
}

/** The single number in an output. */
export const scalarOf = (results: Results, name: string): number =>
  resultOf(results, name).numbers()[0] ?? Number.NaN;

/** A number as the report prints it. */
export const shown = (value: number): string => value.toPrecision(6);

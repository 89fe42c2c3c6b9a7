import type { Site } from "../../src/analysis/site-types.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { EmitOptions, Typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { DeclaredDim } from "../../src/graph/node.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { som } from "../../src/penalties/som.ts";
import type { SomOptions } from "../../src/penalties/som-options.ts";
import { runModel } from "../helpers/run-model.ts";

/** A layer's response, and how SOM is to be built for it. */
export interface SomCase {
  readonly shape: readonly number[];
  readonly unitAxis: number;
  readonly groups?: number;
  /** Default true. */
  readonly rowsFixed?: boolean;
  readonly type?: DataTypeName;
  readonly opset?: number;
  readonly options?: Partial<SomOptions>;
  readonly constants?: EmitOptions["constants"];
  /** Whether the gradient is an output too; default true. */
  readonly gradient?: boolean;
  /** Dimensions that the file declares; default the shape. */
  readonly declared?: readonly DeclaredDim[];
}

/** The graph of one response and its penalty: input `y`, outputs `value` and `gradient`. */
export function somGraph(c: SomCase): { graph: Graph; site: Site } {
  const graph = new Graph("som", new Map([["", c.opset ?? 18]]));
  const y = graph.addInput("y", c.type ?? "float", c.shape, c.declared);
  const site = siteOf(y as Typed, c);
  const g = new Emit(graph, { prefix: "sorth/", constants: c.constants ?? "initializers" });
  const penalty = som.definition.build(site, y as Typed, g, { ...som.definition.defaults, ...c.options });
  graph.addOutput(penalty.value);
  if (c.gradient ?? true) graph.addOutput(penalty.gradient?.() as Typed);
  return { graph, site };
}

/** A site around a response, as the analysis would describe it. */
export function siteOf(
  response: Typed,
  c: Pick<SomCase, "shape" | "unitAxis" | "groups" | "rowsFixed">,
): Site {
  const units = c.shape[c.unitAxis] ?? 0;
  const node = new Graph("layer", new Map()).addNode({ opType: "Conv", inputs: [], outputs: ["y"] });
  return {
    name: "layer",
    op: "Conv",
    node,
    response,
    weight: response,
    bias: undefined,
    units,
    fanIn: 1,
    groups: c.groups ?? 1,
    unitAxis: c.unitAxis,
    rows: c.shape.reduce((product, dim) => product * dim, 1) / units,
    rowsFixed: c.rowsFixed ?? true,
    quantized: false,
  };
}

/** Runs the case's graph: the value, and the gradient in the response's order. */
export async function runSom(c: SomCase, data: Tensor): Promise<{ value: number; gradient: number[] }> {
  const outputs = Object.values(await runModel(somGraph(c).graph, { y: data }));
  return { value: outputs[0]?.numbers()[0] ?? Number.NaN, gradient: outputs[1]?.numbers() ?? [] };
}

/** The float64 reference on a response in its own layout. */
export function referenceSom(
  c: Pick<SomCase, "unitAxis" | "groups" | "options">,
  shape: readonly number[],
  data: ArrayLike<number>,
): { value: number; gradient: number[] } {
  const place = placesOf(shape, c.unitAxis);
  const responses = place.map((row) => row.map((index) => data[index] as number));
  const options = { ...som.definition.defaults, ...c.options };
  const { value, gradient } = som.definition.reference(responses, options, c.groups ?? 1);
  const flat = Array.from({ length: data.length }, () => 0);
  place.forEach((row, r) => {
    row.forEach((index, unit) => {
      flat[index] = gradient[r]?.[unit] ?? Number.NaN;
    });
  });
  return { value, gradient: flat };
}

/** Where `[row][unit]` lies in a tensor whose unit axis is given. */
function placesOf(shape: readonly number[], unitAxis: number): number[][] {
  const units = shape[unitAxis] ?? 0;
  const inner = shape.slice(unitAxis + 1).reduce((product, dim) => product * dim, 1);
  const outer = shape.slice(0, unitAxis).reduce((product, dim) => product * dim, 1);
  return Array.from({ length: outer * inner }, (_, row) => {
    const [o, i] = [Math.floor(row / inner), row % inner];
    return Array.from({ length: units }, (_, unit) => (o * units + unit) * inner + i);
  });
}

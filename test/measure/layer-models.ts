import { readFileSync } from "node:fs";
import type { Graph } from "../../src/graph/graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { decodeModel, Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

export const sample = (name: string) =>
  decodeModel(new Uint8Array(readFileSync(new URL(`../../models/${name}`, import.meta.url))));
export const modelOf = (graph: Graph) => Model.fromProto(graphToProto(graph));

/** A Gemm y = x·w of given columns, in the attribute-free form. */
export function gemmOf(columns: number[][]): Model {
  const b = new GraphBuilder();
  const rows = columns[0]?.length ?? 0;
  const data = Array.from({ length: rows }, (_, i) => columns.map((column) => column[i] ?? 0)).flat();
  const w = b.graph.addInitializer(Tensor.float("w", [rows, columns.length], data));
  return modelOf(b.output(b.op("Gemm", [b.input("x", ["batch", rows]), w], "y")));
}

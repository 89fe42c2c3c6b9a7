import { expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

test("the edges of a graph are no batch; a text of one sample is", async () => {
  const graph = new GraphBuilder();
  const nodes = graph.input("x", ["nodes", 5]);
  const edges = graph.input("edge_index", [2, "edges"], "int64");
  const gathered = graph.op("Gather", [nodes, edges], "y");
  graph.output(gathered);
  await inferShapes(graph.graph, nodeProbe, { batch: 12, dims: { nodes: 12, edges: 30 } });
  expect(gathered.shape).toEqual([2, 30, 5]);
  expect(gathered.freeAxes).toEqual([1]);
  await expect(
    inferShapes(graph.graph, nodeProbe, { batch: 7, dims: { nodes: 5, edges: 30 } }),
  ).rejects.toThrow("--batch 7 has no effect, because --dim nodes=5 fixes the axis that it would set");
  const scalar = new GraphBuilder();
  scalar.output(scalar.op("Abs", [scalar.input("x", [])], "y"));
  await expect(inferShapes(scalar.graph, nodeProbe, { batch: 7 })).rejects.toThrow(
    "no input has an axis of samples",
  );
  const text = new GraphBuilder();
  text.output(text.op("Abs", [text.input("input_ids", [1, "length"], "int64")], "y"));
  await expect(inferShapes(text.graph, nodeProbe, { batch: 4, dims: { length: 6 } })).rejects.toThrow(
    "the model fixes its batch size at 1",
  );
});

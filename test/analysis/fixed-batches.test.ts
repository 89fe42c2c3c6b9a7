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
  const text = new GraphBuilder();
  text.output(text.op("Abs", [text.input("input_ids", [1, "length"], "int64")], "y"));
  await expect(inferShapes(text.graph, nodeProbe, { batch: 4, dims: { length: 6 } })).rejects.toThrow(
    "the model fixes its batch size at 1",
  );
});

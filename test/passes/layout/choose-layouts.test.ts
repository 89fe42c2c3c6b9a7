import { expect, test } from "vitest";
import { inferShapes } from "../../../src/analysis/infer.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import type { Node, Value } from "../../../src/graph/node.ts";
import { chooseLayouts } from "../../../src/passes/layout/choose-layouts.ts";
import type { LayoutCosts } from "../../../src/passes/layout/costs.ts";
import { type RowForm, rowForm } from "../../../src/passes/layout/row-operators.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { Lcg } from "../../helpers/lcg.ts";

/** Two branches that meet, with normalization, a grouped convolution and a Transpose; the pool and the end stay images. */
async function branches(): Promise<Graph> {
  const b = new GraphBuilder();
  const x = b.input("x", [2, 4, 4, 4]);
  const padded = { pads: [1, 1, 1, 1] };
  const c1 = b.op("Conv", [x, b.weight("w1", [4, 4, 3, 3])], "c1", padded);
  const r1 = b.op("Relu", [c1], "r1");
  const c2 = b.op("Conv", [r1, b.weight("w2", [4, 4, 1, 1])], "c2");
  const grouped = b.op("Conv", [r1, b.weight("w3", [4, 1, 3, 3])], "grouped", { ...padded, group: 4 });
  const sum = b.op("Add", [b.op("Mul", [c2, b.weight("gain", [4, 1, 1])], "scaled"), grouped], "sum");
  const last = b.op("Transpose", [sum], "last", { perm: [0, 2, 3, 1] });
  const c3 = b.op(
    "Conv",
    [b.op("Concat", [sum, r1], "both", { axis: 1 }), b.weight("w4", [4, 8, 3, 3])],
    "c3",
    padded,
  );
  const graph = b.output(b.op("MaxPool", [c3], "y", { kernel_shape: [2, 2] }), b.op("Neg", [last], "other"));
  await inferShapes(graph, nodeProbe, {});
  return graph;
}

/** The cost of a choice, by definition: each node's own, and one conversion for each value and direction. */
function costOf(
  graph: Graph,
  forms: ReadonlyMap<Node, RowForm>,
  chosen: (node: Node) => boolean,
  node: (node: Node) => { images: number; rows: number },
  conversion: number,
): number {
  let cost = 0;
  for (const own of forms.keys()) cost += chosen(own) ? node(own).rows : node(own).images;
  for (const value of graph.values) {
    const asRows = ({ producer }: Value) =>
      !!producer && producer.outputs[0] === value && forms.get(producer)?.rows === true && chosen(producer);
    const readers = [...value.uses].map(
      (use) => (forms.get(use.node)?.inputs.includes(use.index) ?? false) && chosen(use.node),
    );
    if (readers.some((rows) => rows !== asRows(value))) cost += conversion;
  }
  return cost;
}

test("no other choice is cheaper, with 60 random costs", async () => {
  const random = new Lcg("choice of layouts");
  let both = 0;
  for (let round = 0; round < 60; round++) {
    const graph = await branches();
    const conversion = 1 + Math.floor(random.next() * 5);
    const prices = new Map<number, { images: number; rows: number }>();
    // Convolutions of different sizes have different costs.
    const priced = (key: number) => {
      const known = prices.get(key) ?? {
        images: Math.floor(random.next() * 12),
        rows: Math.floor(random.next() * 12),
      };
      prices.set(key, known);
      return known;
    };
    const costs: LayoutCosts = {
      convolution: ({ channels, kernel }) => priced(100 * channels + kernel),
      normalization: () => ({ images: 3 * priced(0).images, rows: 3 * priced(0).rows }),
      conversion: () => conversion,
    };
    const forms = new Map(
      graph.nodes.flatMap((node) => {
        const form = node.outputs.some((output) => output && graph.outputs.includes(output))
          ? undefined
          : rowForm(node);
        return form ? [[node, form] as const] : [];
      }),
    );
    const priceOf = (node: Node) => {
      const [x, w] = node.inputs;
      if (node.op === "Conv") return priced(100 * (x?.shape?.[1] ?? 0) + (w?.shape?.[2] ?? 0) ** 2);
      return forms.get(node)?.perChannel ? priced(0) : { images: 0, rows: 0 };
    };
    const nodes = [...forms.keys()];
    const all = Array.from({ length: 2 ** nodes.length }, (_, code) =>
      costOf(
        graph,
        forms,
        (node) => Math.floor(code / 2 ** nodes.indexOf(node)) % 2 === 1,
        priceOf,
        conversion,
      ),
    );
    const chosen = chooseLayouts(graph, { keep: new Set(), trained: new Set() }, costs);
    if (chosen.size > 0 && chosen.size < nodes.length) both++;
    expect(costOf(graph, forms, (node) => chosen.has(node), priceOf, conversion)).toBe(Math.min(...all));
  }
  expect(both).toBeGreaterThan(10);
});

test("nodes of values that must stay are left alone", async () => {
  const rowsAreFree: LayoutCosts = {
    convolution: () => ({ images: 100, rows: 0 }),
    normalization: () => ({ images: 100, rows: 0 }),
    conversion: () => 1,
  };
  const graph = await branches();
  const chosen = chooseLayouts(graph, { keep: new Set(["c2", "sum"]), trained: new Set() }, rowsAreFree);
  const names = [...chosen.keys()].map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(["c1", "scaled", "c3"]));
  expect(names.filter((name) => /^(c2|sum|grouped|y|other)$/.test(name))).toEqual([]);
});

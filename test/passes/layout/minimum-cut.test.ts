import { expect, test } from "vitest";
import { Network } from "../../../src/passes/layout/minimum-cut.ts";
import { Lcg } from "../../helpers/lcg.ts";

interface Edge {
  readonly from: number;
  readonly to: number;
  readonly cost: number;
}

/** The cost of a cut, by definition. */
const costOf = (edges: readonly Edge[], sinkSide: readonly boolean[]): number =>
  edges.reduce((sum, { from, to, cost }) => (!sinkSide[from] && sinkSide[to] ? sum + cost : sum), 0);

/** The cheapest cost of all cuts, and the fewest nodes on the sink's side among the cheapest. */
function everyCut(nodes: number, edges: readonly Edge[]): { cost: number; size: number } {
  let best = { cost: Number.POSITIVE_INFINITY, size: 0 };
  for (let code = 0; code < 2 ** nodes; code++) {
    const sinkSide = [
      false,
      true,
      ...Array.from({ length: nodes }, (_, i) => Math.floor(code / 2 ** i) % 2 === 1),
    ];
    const [cost, size] = [costOf(edges, sinkSide), sinkSide.filter((side) => side).length];
    if (cost < best.cost || (cost === best.cost && size < best.size)) best = { cost, size };
  }
  return best;
}

test("the cheapest of all cuts, with the fewest nodes on the sink's side, on 200 random networks", () => {
  const random = new Lcg("minimum cut");
  for (let round = 0; round < 200; round++) {
    const nodes = 1 + Math.floor(random.next() * 8);
    const edges = Array.from({ length: 3 * nodes + 2 }, (): Edge => {
      const [from, to] = [0, 0].map(() => Math.floor(random.next() * (nodes + 2)));
      // Small integers, so that ties happen; some edges may not be cut at all.
      const cost = random.next() < 0.15 ? Number.POSITIVE_INFINITY : Math.floor(random.next() * 5);
      return { from: from as number, to: to as number, cost };
    }).filter(({ from, to, cost }) => cost < Number.POSITIVE_INFINITY || from !== 0 || to !== 1);
    const network = new Network();
    for (let i = 0; i < nodes; i++) network.add();
    for (const { from, to, cost } of edges) network.connect(from, to, cost);
    const expected = everyCut(nodes, edges);
    if (expected.cost === Number.POSITIVE_INFINITY) continue;
    const found = network.minimumCut();
    expect(costOf(edges, found)).toBe(expected.cost);
    expect(found.filter((side) => side).length).toBe(expected.size);
  }
});

test("a negative cost is refused", () => {
  const network = new Network();
  expect(() => network.connect(network.source, network.sink, -1)).toThrow("must not be negative");
});

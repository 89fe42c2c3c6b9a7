import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { graphOfBody } from "../../src/graph/body-graph.ts";
import { checkGraph } from "../../src/graph/check.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { printGraph } from "../../src/graph/print.ts";
import { changed, defineGraphPass, runGraphPass } from "../../src/passes/pass.ts";
import { passes } from "../../src/passes/table.ts";
import { passCase } from "./pass-cases.ts";

type PassName = keyof typeof passes;
const names = Object.keys(passes) as PassName[];
const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Passes that change the graph each time, and why. */
const neverAtRest: Partial<Record<PassName, string>> = {
  raiseWithBranches: "shapes are inferred and written into the branches each time",
};

/** A graph as text, with the bodies of its nodes. */
function printed(graph: Graph): string {
  const bodies = graph.nodes.flatMap((node) =>
    [...node.attributes].flatMap(([name, { kind }]) =>
      kind === "graph"
        ? [
            `${node.label}, ${name}:`,
            printed(graphOfBody(node, name, { outer: graph, typed: true })).replace(/^/gm, "  "),
          ]
        : [],
    ),
  );
  const opset = graph.opset === 18 ? [] : [`opset ${graph.opset}`];
  return [...opset, printGraph(graph), ...bodies].join("\n");
}

test.each(names)("%s does to a small graph what was recorded, and nothing the second time", async (name) => {
  const { pass, graph, context } = await passCase(name);
  expect(pass.name).toBe(kebab(name));
  checkGraph(graph);
  const before = printed(graph);
  const first = await pass.run(graph, context);
  checkGraph(graph);
  const after = printed(graph);
  const second = await pass.run(graph, context);
  expect(first.changed).toBe(after !== before);
  expect(second.changed, second.detail).toBe(name in neverAtRest);
  expect(printed(graph)).toBe(after);
  const text = first.changed
    ? `${before}\n\n→ ${first.detail}\n\n${after}\n\n→ ${second.detail}\n`
    : `${before}\n\n→ ${first.detail}\n`;
  const file = `printed/${pass.name}.txt`;
  await expect(text).toMatchFileSnapshot(file);
});

test("the table holds every pass, each shows before → after in its comment, and every printed graph has its pass", () => {
  const files = readdirSync("src/passes", { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".ts"),
  );
  const definition = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport const (\w+) = define(?:Graph)?Pass\(/g;
  const defined = files.flatMap((file) => [
    ...readFileSync(`src/passes/${file}`, "utf8").matchAll(definition),
  ]);
  expect(defined.map(([, , name]) => name).sort()).toEqual([...names].sort());
  expect(defined.filter(([, comment]) => !comment?.includes("→")).map(([, , name]) => name)).toEqual([]);
  expect(readdirSync("test/passes/printed").sort()).toEqual(names.map((name) => `${kebab(name)}.txt`).sort());
});

test("a pass that leaves a graph unsound fails the test in which it runs", async () => {
  const { graph } = await passCase("poolBeforeRelu");
  const careless = defineGraphPass({
    name: "careless",
    options: {},
    run({ nodes, inputs }) {
      nodes[0]?.inputs.splice(0, 1, null);
      return changed(`${inputs.length} inputs unread`);
    },
  });
  expect(() => runGraphPass(careless(), graph)).toThrow("after the pass careless");
});

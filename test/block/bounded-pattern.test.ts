import { expect, test } from "vitest";
import { blockOf } from "../../src/block/block.ts";
import { mayBacktrack, patternOfNames } from "../../src/block/bounded-pattern.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { inject } from "../../src/index.ts";
import { Model } from "../../src/onnx/model.ts";
import { som } from "../../src/penalties/som.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

test("patterns that may take for ever are told from those that do not", () => {
  for (const source of [
    "^(a+)+$",
    "(a|aa)+$",
    "(.*)*x",
    "(x+x+)+y",
    "((a*))*",
    ".*.*.*.*x",
    "(a)\\1",
    "(a{2,}){3}",
  ]) {
    expect(mayBacktrack(source), source).toBe(true);
  }
  for (const source of [
    "^fc",
    "^(conv|fc)\\d+$",
    "layer[0-9]+\\.weight",
    "^(?:a|b)$",
    "encoder\\..*\\.q_proj",
    "[(+]+",
  ]) {
    expect(mayBacktrack(source), source).toBe(false);
  }
});

test("a pattern of names matches those names alone", () => {
  const pattern = patternOfNames(["fc.1", "a/b+c"]);
  expect(["fc.1", "a/b+c", "fc11", "xfc.1", "a/bbc"].filter((name) => pattern.test(name))).toEqual([
    "fc.1",
    "a/b+c",
  ]);
  expect(patternOfNames([]).test("")).toBe(false);
});

test("the layers of a block whose pattern may take for ever are those that the mark lists", async () => {
  const name = `${"a".repeat(60)}`;
  const b = new GraphBuilder(17);
  const x = b.input("x", ["N", 6]);
  const hidden = b.op("MatMul", [x, b.weight("w1", [6, 5])], name);
  b.output(b.op("MatMul", [b.op("Relu", [hidden], "relu"), b.weight("w2", [5, 4])], "other"));
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
  const injected = await inject(model, { penalties: [{ penalty: som(), include: /^(a+)+$/ }] });
  const block = blockOf(graphOf(injected));
  const started = process.cpuUsage();
  const [plan] = block?.penalties ?? [];
  expect(plan?.include?.test(name)).toBe(true);
  expect(plan?.include?.test("other")).toBe(false);
  expect(plan?.include?.test(`${name}!`)).toBe(false);
  // Time of this process, in microseconds: other programs take none of it.
  expect(process.cpuUsage(started).user).toBeLessThan(1_000_000);
});

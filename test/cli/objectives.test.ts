import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readModel } from "../../src/index.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { uniform } from "../helpers/lcg.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const at = (name: string) => join(folder.path, name);

const two = [
  ...["--objective", "cross-entropy:output=logits,labels=kind"],
  ...["--objective", "huber:output=box,labels=price,weight=0.5,name=cost"],
];

beforeAll(() => {
  for (const name of ["two", "loss", "dense"]) {
    const file = new URL(`../fixtures/objectives/${name}.onnx`, import.meta.url);
    copyFileSync(file, at(`${name}.onnx`));
  }
  const numbers = uniform("table", 24 * 6);
  const rows = Array.from({ length: 24 }, (_, i) => {
    const own = [...numbers.subarray(i * 6, i * 6 + 6)].map((value) => value.toFixed(3));
    return [...own.slice(0, 5), ["red", "green", "blue"][i % 3], own[5]].join(",");
  });
  writeFileSync(at("table.csv"), ["a,b,c,d,e,kind,price", ...rows].join("\n"));
  const array = (name: string, width: number) =>
    npyBytes({ descr: "<f4", shape: [24, width], data: uniform(name, 24 * width) });
  writeFileSync(at("boxes.npz"), zipSync({ "x.npy": array("x", 5), "y.npy": array("y", 4) }));
  writeFileSync(
    at("own.mjs"),
    "export default (g, prediction, labels) => g.mul(g.abs(g.sub(prediction, labels)), 2);",
  );
  writeFileSync(at("none.mjs"), "export default 3;");
  writeFileSync(at("number.mjs"), "export default (prediction, labels) => Math.abs(prediction - labels);");
  writeFileSync(at("misspelt.mjs"), "export default (g, prediction) => g.absolute(prediction);");
});

/** The last events of a run. */
const events = (run: string) =>
  readFileSync(at(`${run}/run.jsonl`), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

test("columns of a table as labels of several outputs, from training to evaluation", async () => {
  // The box has four numbers, the table one price: the loss names what does not fit.
  const plain = ["--data", at("table.csv"), "--penalty", "none", "--no-report"];
  const failed = await cli("train", at("two.onnx"), ...plain, ...two, "-o", at("failed.onnx"));
  expect(failed.code).toBe(1);
  expect(failed.stderr).toMatch(
    /table\.csv: price: labels of one sample have shape \[\], but "price" takes \[4\]/,
  );

  const classes = ["--objective", "cross-entropy:output=logits,labels=kind,name=colour"];
  const sum = [...classes, "--objective", "cross-entropy:output=logits,labels=kind,weight=0.5"];
  const run = ["--batch", "8", "--epochs", "2", "--validation", "0.25", "-o", at("sum.onnx")];
  const columns = ["--columns", "a,b,c,d,e"];
  const trained = await cli("train", at("two.onnx"), ...plain, ...columns, ...sum, ...run);
  expect(trained.stderr).toContain("labels from kind");
  expect(trained.code).toBe(0);
  const [first] = events("sum.run");
  expect(Object.keys(first.losses)).toEqual(["colour", "logits"]);
  expect(first.loss).toBeCloseTo(1.5 * first.losses.colour, 5);
  const { validation } = events("sum.run").at(-1);
  expect(Object.keys(validation.accuracies)).toEqual(["colour", "logits"]);

  const args = ["--data", at("table.csv"), ...sum, "--json"];
  const evaluated = JSON.parse((await cli("evaluate", at("sum.onnx"), ...args)).stdout);
  expect(evaluated.loss).toBeCloseTo(1.5 * evaluated.losses.colour, 9);
  expect(evaluated.outputs.colour.classes.classes).toHaveLength(3);
  expect(evaluated.accuracies.colour).toBe(evaluated.outputs.colour.accuracy);
});

test("images of classes, trained, evaluated and predicted at every place", async () => {
  const array = (descr: string, shape: readonly number[], data: Float32Array | Uint8Array) =>
    npyBytes({ descr, shape, data });
  const labels = Uint8Array.from({ length: 8 * 20 }, (_, i) => (i % 5 === 0 ? 255 : i % 3));
  const files = {
    "x.npy": array("<f4", [8, 2, 4, 5], uniform("image", 8 * 40)),
    "y.npy": array("|u1", [8, 4, 5], labels),
  };
  writeFileSync(at("images.npz"), zipSync(files));
  const data = ["--data", at("images.npz"), "--ignore-index", "255", "--objective", "cross-entropy"];
  const run = ["--batch", "4", "--no-report", "-o", at("dense.trained.onnx")];
  expect((await cli("train", at("dense.onnx"), ...data, ...run)).code).toBe(0);
  const figures = JSON.parse((await cli("evaluate", at("dense.trained.onnx"), ...data, "--json")).stdout);
  const counted = figures.classes.classes.map(({ samples }: { samples: number }) => samples);
  expect(counted.reduce((a: number, b: number) => a + b, 0)).toBe(labels.filter((y) => y !== 255).length);
  const answers = ["-o", at("dense.jsonl")];
  const predicted = await cli("predict", at("dense.trained.onnx"), ...data, ...answers);
  expect(predicted.code).toBe(0);
  expect(predicted.stderr).toContain("--ignore-index changes a loss, and predict computes none");
  const [first] = readFileSync(at("dense.jsonl"), "utf8").split("\n");
  expect(JSON.parse(first ?? "").answers).toHaveLength(20);
});

test("a function of the user's own, resumed from its file", async () => {
  const train = (output: string, name: string, ...more: string[]) => {
    const loss = ["--objective", `${at("own.mjs")}:output=${output}`];
    const data = ["--data", at("boxes.npz"), "--batch", "8", "--penalty", "none", "--no-report"];
    return cli("train", at("two.onnx"), ...data, ...loss, "-o", at(name), ...more);
  };
  const missing = await train("price", "own.onnx");
  expect(missing.code).toBe(2);
  expect(missing.stderr).toContain('the model computes no value "price"; its outputs are logits, box');

  expect((await train("box", "whole.onnx", "--epochs", "2")).code).toBe(0);
  expect((await train("box", "own.onnx", "--epochs", "2", "--max-steps", "4")).code).toBe(0);
  const resumed = await cli("train", "--resume", at("own.run"), "--max-steps", "6", "--force");
  expect(resumed.code).toBe(0);
  const weights = async (name: string) => (await readModel(at(name))).proto.graph?.initializer;
  expect(await weights("own.onnx")).toEqual(await weights("whole.onnx"));
});

test("gradients of a loss that is a model, and of a sum, have the inputs of their labels", async () => {
  const gradient = async (name: string, ...objective: string[]) => {
    const made = await cli("grad", at("two.onnx"), "--batch", "4", ...objective, "-o", at(name));
    expect(made.stderr).not.toContain("error");
    const { input, output } = (await readModel(at(name))).proto.graph ?? {};
    return [input, output].map((values) => values?.map((value) => value.name));
  };
  const [inputs, outputs] = await gradient("model.onnx", "--objective", at("loss.onnx"));
  expect(inputs).toEqual(["x", "labels", "y_box"]);
  expect(outputs?.[0]).toBe("loss");
  // It reads both outputs by their names, so that naming one of them changes nothing.
  for (const name of ["logits", "box"]) {
    const [same] = await gradient(`${name}.onnx`, "--objective", at("loss.onnx"), "--prediction", name);
    expect(same).toEqual(inputs);
  }
  expect((await gradient("sum-gradient.onnx", ...two))[0]).toEqual(["x", "kind", "price"]);
});

test.each([
  ["an unknown file", ["--objective", "missing.onnx"], 1, /missing\.onnx/],
  ["a module without a loss", ["--objective", at("none.mjs")], 2, /exports no loss/],
  [
    "a loss that JavaScript computes",
    ["--objective", at("number.mjs")],
    2,
    /^error: the function of the loss number returns a value of the graph, as g\.reduceMean\(x\), not NaN$/m,
  ],
  [
    "a loss that fails",
    ["--objective", at("misspelt.mjs")],
    2,
    /^error: the loss .*misspelt\.mjs fails: g\.absolute is not a function$/m,
  ],
  ["a weight below 0", ["--objective", "mse:weight=-1"], 2, /weight of "mse:weight=-1" is -1/],
  ["a mask where none is taken", ["--objective", "triplet:mask=m"], 2, /loss triplet takes no mask \("m"\)/],
  [
    "a flag that could belong to two",
    [...two, "--objective", "cross-entropy", "--label-smoothing", "0.1"],
    2,
    /--label-smoothing could belong to several/,
  ],
  [
    "a prediction beside several",
    [...two, "--prediction", "box"],
    2,
    /--prediction names the value that one/,
  ],
])("%s is refused", async (_, objective, code, message) => {
  const made = await cli("grad", at("two.onnx"), "--batch", "4", ...objective, "-o", at("refused.onnx"));
  expect(made.stderr).toMatch(message);
  expect(made.code).toBe(code);
});

test.each(["inject", "artifacts", "predict"])("%s takes one objective", async (command) => {
  const data = command === "predict" ? ["--data", at("boxes.npz")] : [];
  const made = await cli(
    command,
    at("two.onnx"),
    ...data,
    ...two,
    "-o",
    at(command === "predict" ? "one.csv" : "one.onnx"),
  );
  expect(made.stderr).toMatch(/one objective|one of the losses by name/);
});

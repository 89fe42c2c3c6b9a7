import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  type Dataset,
  decodeModel,
  inject,
  loadMnist,
  loadNpz,
  readModel,
  som,
  splitValidation,
  writeModel,
} from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { officialPath } from "../artifacts/official-fixtures.ts";
import { npz } from "../cli/npz.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { accuracyInNode, download, figure, fill, number, usePageBrowser, waitForStatus } from "./page-tab.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
afterAll(() => folder.remove());

const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();
const choose = (page: Page, ...paths: string[]) => page.locator("#model-files").setInputFiles(paths);
const summary = (page: Page, text: string | RegExp) =>
  page.locator("#model-summary", { hasText: text }).waitFor();

async function trainShortly(page: Page): Promise<void> {
  await fill(page, { epochs: 1 });
  await waitForStatus(page, /Ready to train/);
  await press(page, "Train");
  await waitForStatus(page, /^Finished/);
}

describe("files in the page", () => {
  const browser = usePageBrowser();

  it("says of what cannot be trained why, keeps what is loaded, and takes the next file", async () => {
    const { page, faults } = await browser.shared();
    writeFileSync(
      at("broken.onnx"),
      Uint8Array.from({ length: 500 }, (_, i) => (i * 7) % 251),
    );
    writeFileSync(at("notes.txt"), "no model");
    await waitForStatus(page, /Ready to train/);
    await choose(page, at("broken.onnx"));
    await summary(page, /This cannot be trained: broken.onnx: .*not an ONNX model.*mlp is still loaded/s);
    await waitForStatus(page, /Ready to train/);
    expect(await page.locator('input[name="model"][value="mlp"]').isChecked()).toBe(true);
    expect(await page.locator("#data-summary").innerText()).toContain("training and");
    await choose(page, at("notes.txt"));
    await summary(page, "no ONNX model was chosen (notes.txt)");
    await choose(page, "models/mlp.onnx", "models/cnn.onnx");
    await summary(page, "choose one model at a time");
    await choose(page, officialPath("mlp/training_model.onnx"));
    await summary(page, "choose the file checkpoint of its run together with it");
    await choose(page, officialPath("mlp/optimizer_model.onnx"));
    await summary(page, "goes on from training_model.onnx and checkpoint");
    await choose(page, "models/cnn.onnx");
    await summary(page, "19,386 numbers in 17 tensors");
    await summary(page, "6 layers: conv1, conv2");
    // Lists of many layers are folded: nine of eight units, nine of one.
    const b = new GraphBuilder();
    let value = b.input("x", ["batch", 8]);
    for (let index = 0; index < 18; index++) {
      const dims = index % 2 === 0 ? [8, 1] : [1, 8];
      value = b.op("MatMul", [value, b.weight(`fc${index}.weight`, dims)], `fc${index}`);
    }
    b.graph.addOutput(value);
    writeFileSync(at("deep.onnx"), encodeModelProto(graphToProto(b.graph)));
    await choose(page, at("deep.onnx"));
    await summary(page, "deep.onnx");
    const lists = page.locator("#model-summary details");
    expect(await lists.locator("summary").allInnerTexts()).toEqual(["9 layers", "9 layers"]);
    expect(await lists.nth(1).locator("li").first().textContent()).toMatch(/^fc0: .*unit/);
    await choose(page, "models/cnn.onnx");
    await summary(page, "19,386 numbers in 17 tensors");
    await waitForStatus(page, /Ready to train/);

    // Data that do not fit, and a broken archive.
    await page.locator('input[name="data"][value="own"]').check();
    writeFileSync(
      at("other.npz"),
      npz(12, [20], (index) => index % 3),
    );
    await page.locator("#data-file").setInputFiles(at("other.npz"));
    const data = page.locator("#data-summary");
    await data
      .getByText(/other\.npz: x: samples have shape \[20\], but input "x" of the model takes/)
      .waitFor();
    writeFileSync(at("cut.npz"), Uint8Array.of(80, 75, 3, 4, 9));
    await page.locator("#data-file").setInputFiles(at("cut.npz"));
    await data.getByText("cut.npz: not an .npz archive, or a damaged one").waitFor();
    expect(await page.locator("#status").innerText()).toMatch(/^Choose/);
    expect(faults).toEqual([]);
  });

  it("uses the penalty of an injected model", async () => {
    const penalties = [{ penalty: som({ gamma: 4, lambda1: 30 }), weight: 0.25 }];
    await writeModel(await inject(await readModel("models/mlp.onnx"), { penalties }), at("injected.onnx"));
    const { page, faults } = await browser.shared();
    await page.locator('input[name="data"][value="mnist"]').check();
    await choose(page, at("injected.onnx"));
    await summary(page, "a model with an injected penalty");
    expect(await page.locator("#gamma").inputValue()).toBe("4");
    expect(await page.locator("#lambda1").isDisabled()).toBe(true);
    expect(await page.locator("#weight").inputValue()).toBe("0.25");
    await fill(page, { "train-samples": 128, "test-samples": 64, batch: 32 });
    await trainShortly(page);
    expect(await figure(page, "step", "som")).toBe("4 of 4");
    const trained = await readModel((await download(page, "som")).path);
    expect(trained.proto.graph?.output?.map(({ name }) => name)).toEqual(["logits"]);
    const again = await readModel((await download(page, "injected")).path);
    expect(Buffer.from(again.bytes).equals((await readModel(at("injected.onnx"))).bytes)).toBe(true);
    expect(faults).toEqual([]);
  });

  it("takes the files of a model's external data with it, and says which are missing", async () => {
    const { proto } = decodeModel(new Uint8Array(readFileSync("models/mlp.onnx")));
    const weight = proto.graph?.initializer?.find(({ name }) => name === "fc1.weight");
    writeFileSync(at("weights.bin"), weight?.rawData ?? new Uint8Array());
    Object.assign(weight ?? {}, {
      ...{ rawData: new Uint8Array(), dataLocation: 1 },
      externalData: [{ key: "location", value: "weights.bin" }],
    });
    writeFileSync(at("external.onnx"), encodeModelProto(proto));
    const { page, faults } = await browser.shared();
    await page.locator('input[name="data"][value="mnist"]').check();
    await choose(page, at("external.onnx"));
    await summary(page, "external.onnx keeps numbers in weights.bin: choose these files together with it");
    await choose(page, at("external.onnx"), at("weights.bin"));
    await summary(page, "109,386 numbers in 6 tensors");
    await fill(page, { "train-samples": 128, "test-samples": 64, batch: 32 });
    await trainShortly(page);
    const trained = await download(page, "plain");
    const found = await accuracyInNode(trained.path, (await loadMnist()).test as Dataset, 64);
    expect(number(await figure(page, "accuracy", "plain"))).toBe(Math.round(100 * found));
    expect(faults).toEqual([]);
  });

  it("goes on with a run of ONNX Runtime's training API", async () => {
    writeFileSync(
      at("points.npz"),
      npz(80, [20], (index) => index % 5),
    );
    const { page, faults } = await browser.shared();
    const files = ["training_model.onnx", "checkpoint", "optimizer_model.onnx"];
    await choose(page, ...files.map((name) => officialPath(`mlp/${name}`)));
    await summary(page, "a training run of ONNX Runtime, with its checkpoint");
    expect(await page.locator("#optimizer").inputValue()).toBe("adamw-ort");
    await page.locator('input[name="data"][value="own"]').check();
    await page.locator("#data-file").setInputFiles(at("points.npz"));
    await page
      .locator("#data-summary", { hasText: "64 training and 16 test samples of shape [20]" })
      .waitFor();
    await fill(page, { batch: 16 });
    await trainShortly(page);
    expect(await figure(page, "testLoss", "som")).toMatch(/^\d/);
    // The page holds out a fifth of the samples, always the same ones.
    const { validation } = splitValidation((await loadNpz(at("points.npz"))).train, 0.2, 0);
    for (const run of ["plain", "som"] as const) {
      const found = await accuracyInNode((await download(page, run)).path, validation);
      expect(number(await figure(page, "accuracy", run))).toBe(Math.round(100 * found));
    }
    expect(faults).toEqual([]);
  });

  it("trains a model whose own loss needs more samples than there are to test on", async () => {
    writeFileSync(
      at("few.npz"),
      npz(80, [4], (index) => index % 3),
    );
    const b = new GraphBuilder(18);
    const [x, y] = [b.input("x", ["batch", 4]), b.input("y", ["batch"])];
    const score = b.op("Gemm", [x, b.weight("w", [4, 2]), b.weight("b", [2])], "fc");
    const sum = b.op("ReduceSum", [score, b.int64("axes", [1])], "sum", { keepdims: 0 });
    b.graph.addOutput(b.op("ReduceSumSquare", [b.op("Sub", [sum, y], "error")], "loss", { keepdims: 0 }));
    writeFileSync(at("squares.onnx"), encodeModelProto(graphToProto(b.graph, { irVersion: 8 })));
    const { page, faults } = await browser.open();
    await waitForStatus(page, /Ready to train/);
    await page.locator('input[name="data"][value="own"]').check();
    await page.locator("#data-file").setInputFiles(at("few.npz"));
    await choose(page, at("squares.onnx"));
    await fill(page, { batch: 32 });
    await trainShortly(page);
    expect(await figure(page, "trainingLoss", "som")).toMatch(/^\d/);
    expect([await figure(page, "testLoss", "som"), await figure(page, "accuracy", "som")]).toEqual([
      "–",
      "–",
    ]);
    expect(faults).toEqual([]);
  });
});

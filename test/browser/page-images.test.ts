import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unzipSync } from "fflate";
import type { Page } from "playwright-core";
import { afterAll, describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  conversionOf,
  crossEntropy,
  loadData,
  mergeAdapters,
  type Prediction,
  predict,
  readAdapter,
  readModel,
  replaceHead,
} from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { patience, testFlags } from "./browser.ts";
import { download, figure, fill, number, usePageBrowser, waitForStatus } from "./page-tab.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
afterAll(() => folder.remove());

/** A small CNN for ten classes of 16 × 16 colour images, as PyTorch would export it. */
function writeClassifier(path: string): void {
  const b = new GraphBuilder(18);
  const x = b.input("image", ["batch", 3, 16, 16]);
  const conv = b.op("Conv", [x, b.weight("conv.weight", [4, 3, 3, 3]), b.weight("conv.bias", [4])], "conv", {
    strides: [2, 2],
    pads: [1, 1, 1, 1],
  });
  const flat = b.op("Flatten", [b.op("Relu", [conv], "relu")], "flat");
  const weight = b.weight("fc.weight", [10, 256]);
  b.graph.addOutput(b.op("Gemm", [flat, weight, b.weight("fc.bias", [10])], "scores", { transB: 1 }));
  writeFileSync(path, encodeModelProto(graphToProto(b.graph, { irVersion: 8 })));
}

/** Writes images of bars in three positions, a class each, drawn by the browser itself, and a file that is no image. */
async function writeBars(page: Page): Promise<void> {
  const images = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(16, 16);
    const pen = canvas.getContext("2d");
    const files: { name: string; bytes: number[] }[] = [];
    for (const [label, name] of ["left", "middle", "right"].entries()) {
      for (let i = 0; i < 12; i++) {
        if (!pen) continue;
        pen.fillStyle = "black";
        pen.fillRect(0, 0, 16, 16);
        pen.fillStyle = `hsl(${30 * i} 30% 75%)`;
        pen.fillRect(5 * label + (i % 3), 0, 4, 16);
        const blob = await canvas.convertToBlob({ type: "image/png" });
        files.push({ name: `${name}/${i}.png`, bytes: [...new Uint8Array(await blob.arrayBuffer())] });
      }
    }
    return files;
  });
  for (const { name, bytes } of images) {
    mkdirSync(join(at("bars"), name, ".."), { recursive: true });
    writeFileSync(join(at("bars"), name), Uint8Array.from(bytes));
  }
  writeFileSync(join(at("bars"), "left/broken.png"), "no picture");
}

const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();

describe("fine-tuning in the page", () => {
  const browser = usePageBrowser([
    ...testFlags,
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
  ]);

  it("new classes from folders of images: trains, names them, and the file predicts the same in node", async () => {
    const { page, faults } = await browser.shared();
    await waitForStatus(page, /Ready to train/);
    writeClassifier(at("classifier.onnx"));
    await writeBars(page);
    await page.locator("#model-files").setInputFiles(at("classifier.onnx"));
    await page.locator("#model-summary", { hasText: "classifier.onnx" }).waitFor();
    await page.locator("#head-note", { hasText: "The model keeps its 10 classes." }).waitFor();
    await page.locator('input[name="data"][value="own"]').check();
    // One class is not enough, and is kept for the next one.
    const data = page.locator("#data-summary");
    await page.locator("#data-folder").setInputFiles(join(at("bars"), "left"));
    await data.getByText("Only one class so far, left").waitFor();
    await page.locator("#data-folder").setInputFiles(at("bars"));
    await data.getByText(/^bars: 29 training and 7 test samples of shape \[3, 16, 16\], 3 classes/).waitFor();
    expect(await data.innerText()).toContain("classes: 0 left, 1 middle, 2 right");
    expect(await data.innerText()).toContain("cannot decode them: 1 image (bars/left/broken.png)");

    // The folders suggest new classes, and one run without a penalty.
    expect(await page.locator("#new-classes").isChecked()).toBe(true);
    expect(await page.locator("#class-names").inputValue()).toBe("left\nmiddle\nright");
    expect(await page.locator("#runs").inputValue()).toBe("plain");
    await page.locator("#class-names").fill("left, middle, up");
    await page.locator("#class-names-note", { hasText: "no such class: right" }).waitFor();
    await page.locator("#class-names").fill("right, middle, left");
    await page.locator("#trained-part").selectOption("head");
    await fill(page, { batch: 8, epochs: 30, "learning-rate": 0.02 });
    await waitForStatus(page, /Ready to train/);
    await press(page, "Train");
    await waitForStatus(page, /^Finished/);
    // Where a bar stands is easy to learn: pictures and labels belong together.
    expect(number(await figure(page, "accuracy", "plain"))).toBe(100);
    expect(await page.locator('[data-figure="accuracy"][data-run="som"]').isVisible()).toBe(false);

    const model = await readModel((await download(page, "plain")).path);
    const conversion = conversionOf(model);
    expect(conversion?.classes).toEqual(["right", "middle", "left"]);
    const numbersOf = (name: string, of = model) =>
      of.proto.graph?.initializer?.find((tensor) => tensor.name === name)?.rawData;
    const before = await readModel(at("classifier.onnx"));
    expect(numbersOf("conv.weight")).toEqual(numbersOf("conv.weight", before));
    // The panel for trying the model says of an image what the file says of it in node.
    await page.locator("#try-file").setInputFiles(at("bars/right/0.png"));
    const shares = page.locator("#try-scores li");
    await shares.first().waitFor();
    expect(await page.locator("#try-message").innerText()).toMatch(/^right, says the plain model after step/);
    const shown = await shares.evaluateAll((items) =>
      (items as HTMLElement[]).map(({ dataset }) => [dataset.name, Number(dataset.score)] as const),
    );
    expect(shown.map(([name]) => name).sort()).toEqual(["left", "middle", "right"]);
    const { train } = await loadData(at("bars/right"), { model, ...(conversion && { conversion }) });
    const answers: Prediction[] = [];
    const options = { objective: crossEntropy(), normalize: conversion?.normalize ?? "none" } as const;
    for await (const answer of predict(model, train, options)) answers.push(answer);
    expect(new Set(answers.map(({ answer }) => answer))).toEqual(new Set([0]));
    const first = answers.find(({ sample }) => train.sampleName?.(sample)?.endsWith("0.png"));
    for (const [name, share] of shown) {
      const label = conversion?.classes?.indexOf(name ?? "") ?? -1;
      expect(share).toBeCloseTo(first?.scores[label] ?? Number.NaN, 4);
    }
    // A camera that is not allowed is a message, no error.
    await page.evaluate(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotAllowedError"));
    });
    await press(page, "Use the camera");
    await page
      .locator("#try-message", { hasText: "No camera: the browser was not allowed to use it" })
      .waitFor();
    expect(faults).toEqual([]);
  });

  it("adapters on pictures of the camera: goes on after the tab was closed, and the adapter is a file", async () => {
    const first = await browser.open();
    const { page } = first;
    await waitForStatus(page, /Ready to train/);
    await page.locator("#model-files").setInputFiles(at("classifier.onnx"));
    await page.locator("#model-summary", { hasText: "classifier.onnx" }).waitFor();
    await page.locator('input[name="data"][value="own"]').check();
    await page.locator("#data-folder").setInputFiles(join(at("bars"), "left"));
    await page.locator("#new-class").fill("green");
    await press(page, "Add");
    // The button is held until there are some pictures.
    const row = page.locator('[data-class="green"]');
    const pictures = async () => Number.parseInt(await row.locator(".note").innerText(), 10);
    await row.getByRole("button", { name: "Hold to add pictures" }).hover();
    await page.mouse.down();
    await expect.poll(pictures, { timeout: patience }).toBeGreaterThanOrEqual(4);
    await page.mouse.up();
    await page.locator("#data-summary", { hasText: /images: \d+ training .* 2 classes/ }).waitFor();
    expect(await row.locator("canvas").count()).toBeGreaterThanOrEqual(4);
    await press(page, "Turn the camera off");
    expect(await page.locator("#class-names").inputValue()).toBe("green\nleft");
    await page.locator("#trained-part").selectOption("lora");
    await fill(page, { batch: 4, epochs: 5000, "lora-rank": 2, "lora-alpha": 4, "learning-rate": 0.01 });
    await waitForStatus(page, /Ready to train/);
    await press(page, "Train");
    await waitForStatus(page, /step [1-9]/);
    await press(page, "Pause");
    await waitForStatus(page, /^Paused/);
    const step = await figure(page, "step", "plain");
    await page.close();

    const second = await browser.open({ context: page.context() });
    await second.page
      .locator("#kept")
      .getByText(/classifier on images, stopped at step/)
      .waitFor();
    await press(second.page, "Go on");
    await waitForStatus(second.page, /^Epoch/);
    await press(second.page, "Pause");
    await waitForStatus(second.page, /^Paused/);
    expect(number(await figure(second.page, "step", "plain"))).toBeGreaterThanOrEqual(number(step));
    expect(await second.page.locator("#trained-part").inputValue()).toBe("lora");
    expect(await second.page.locator('[data-class="green"]').isVisible()).toBe(true);
    const merged = await readModel((await download(second.page, "plain")).path);
    const file = await download(second.page, "plain-adapter");
    expect(file.name).toMatch(/^classifier-plain-adapter-step-\d+\.zip$/);
    const files = unzipSync(readFileSync(file.path));
    expect(Object.keys(files)).toEqual(["adapter_model.safetensors", "adapter_config.json"]);
    // A folder of both is what PEFT and `merge` read.
    mkdirSync(at("adapter"));
    for (const [name, bytes] of Object.entries(files)) writeFileSync(at(`adapter/${name}`), bytes);
    expect(JSON.parse(readFileSync(at("adapter/adapter_config.json"), "utf8"))).toMatchObject({
      ...{ peft_type: "LORA", r: 2, lora_alpha: 4 },
    });
    const adapter = await readAdapter(at("adapter"));
    expect([adapter.rank, adapter.alpha, adapter.layers.length]).toEqual([2, 4, 1]);
    // The adapter on the model with the same new classes is the merged model.
    const base = await replaceHead(await readModel(at("classifier.onnx")), { classes: ["green", "left"] });
    const again = await mergeAdapters(base, adapter);
    const weights = ({ proto }: typeof base) =>
      proto.graph?.initializer?.map(({ name, rawData }) => [
        name,
        Buffer.from(rawData ?? []).toString("hex"),
      ]);
    expect(weights(again)).toEqual(weights(merged));
    expect(weights(merged)).not.toEqual(weights(base));
    expect(conversionOf(merged)?.classes).toEqual(["green", "left"]);
    expect([...first.faults, ...second.faults]).toEqual([]);
    await second.page.context().close();
  });
});

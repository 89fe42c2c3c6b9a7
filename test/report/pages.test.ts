import { createHash } from "node:crypto";
import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import {
  angleReportPage,
  type PageModel,
  pictures,
  readModel,
  runRecord,
  runReportPage,
  weightAngles,
} from "../../src/index.ts";
import { blankDocument } from "../../src/report/pages/blank-document.ts";
import { thinned } from "../../src/report/pages/run-page.ts";
import { angleHistogram, normalDensity } from "../../src/report/plots/angle-histogram.ts";
import { cosineHeatMap, heatScale } from "../../src/report/plots/cosine-heat-map.ts";
import { wholeTicks } from "../../src/report/plots/curves.ts";
import { convolution, responseLayer, weightLayer } from "../measure/layers.ts";
import { longRun } from "./runs.ts";

const documentOf = (html: string): Document => parseHTML(html).document as unknown as Document;
const texts = (document: Document, selector: string) =>
  [...document.querySelectorAll(selector)].map((element) => element.textContent);

/** What holds for every page: nothing is loaded, run or styled that its policy does not allow. */
function checkSelfContained(html: string): Document {
  const document = documentOf(html);
  expect(html.startsWith("<!doctype html>\n<html")).toBe(true);
  expect(
    document.querySelectorAll("script, link, img, iframe, object, [style], [onclick], [src]").length,
  ).toBe(0);
  expect(html).not.toMatch(/url\(|@import|https?:(?!\/\/www\.w3\.org\/)/);
  const styles = [...document.querySelectorAll("style")];
  expect(styles).toHaveLength(1);
  const [, style = ""] = /<style>([\s\S]*?)<\/style>/.exec(html) ?? [];
  const hash = createHash("sha256").update(style).digest("base64");
  const policy = document.querySelector("meta[http-equiv]")?.getAttribute("content");
  expect(policy).toBe(`default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`);
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const link of document.querySelectorAll("nav a")) {
    expect(ids).toContain(link.getAttribute("href")?.slice(1));
  }
  // Every picture says in words what it shows, and every table has a caption.
  for (const svg of document.querySelectorAll("svg")) expect(svg.getAttribute("aria-label")).toBeTruthy();
  expect(document.querySelectorAll("table").length).toBe(document.querySelectorAll("table > caption").length);
  return document;
}

describe("angleReportPage", () => {
  test("a model: histogram, map and spectra of each layer", async () => {
    const weights = await weightAngles(await readModel("models/cnn.onnx"), pictures);
    const html = await angleReportPage([{ model: "models/cnn.onnx", weights }]);
    const document = checkSelfContained(html);
    expect(texts(document, "h1")).toEqual(["Angles between the units of cnn.onnx"]);
    expect(texts(document, "nav a")).toEqual(["conv1", "conv2", "conv3", "conv4", "conv5", "logits"]);
    const conv1 = document.querySelector("#layer-1");
    expect(
      [...(conv1?.querySelectorAll("figcaption strong") ?? [])].map((title) => title.textContent),
    ).toEqual([
      ...[
        "Weight angles",
        "Singular values",
        "Singular values of the convolution",
        "Cosines between weights",
      ],
    ]);
    expect(document.querySelectorAll("#layer-6 figure").length).toBe(3);
    expect(html).toContain("Response angles were not measured");
    expect(await angleReportPage([{ model: "models/cnn.onnx", weights }])).toBe(html);
  });

  test("several models: a legend, a column for each, what to know of each", async () => {
    const wide = weightLayer("fc2", {
      dead: 1,
      deadUnits: [3],
      distribution: { start: 80, width: 1, counts: [1, 2] },
    });
    const models: PageModel[] = [
      { model: "runs/a/plain.onnx", weights: { layers: [weightLayer("fc1"), wide], skipped: [] } },
      {
        model: "runs/b/som.onnx",
        weights: { layers: [wide], skipped: [{ name: "one", op: "Gemm", reason: "one unit has no pairs" }] },
        responses: { layers: [responseLayer("fc2")], skipped: [] },
      },
    ];
    const document = checkSelfContained(await angleReportPage(models, { data: "mnist" }));
    expect(texts(document, "#overview ul li")).toEqual([
      "plain.onnx: fc2: 1 dead unit (3)",
      "som.onnx: fc2: 1 dead unit (3)",
      "som.onnx: one: skipped, one unit has no pairs",
    ]);
    const table = document.querySelector("#layer-2 details table");
    expect(texts(table as unknown as Document, "thead th")).toEqual([
      ...["figure", "plain.onnx", "som.onnx", "what it is"],
    ]);
    expect(texts(document, "#layer-2 figure:first-of-type .legend > span")).toEqual([
      ...["plain.onnx", "som.onnx", "random weights"],
    ]);
  });

  test("names from a model are text, whatever they hold", async () => {
    const evil = `</title></style>"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;`;
    const weights = {
      layers: [weightLayer(evil, { distribution: { start: 80, width: 1, counts: [4] }, convolution })],
      skipped: [],
    };
    const html = await angleReportPage([{ model: evil, weights }], { data: evil });
    const document = checkSelfContained(html);
    expect(texts(document, "h2")).toContain(evil);
    const run = { title: evil, facts: [evil] };
    checkSelfContained(
      await runReportPage([{ event: "angles", step: 1, epoch: 1, layers: [{ name: evil }] }], run),
    );
  });

  test("layers without pairs, figures or spectra are shown without them", async () => {
    const none = {
      mean: Number.NaN,
      spread: Number.NaN,
      coherence: Number.NaN,
      pairs: 0,
      dead: 2,
      deadUnits: [0, 1],
    };
    const layer = weightLayer("fc1", { ...none, spectrum: { notComputed: "it takes long" } });
    const document = checkSelfContained(
      await angleReportPage([{ model: "m.onnx", weights: { layers: [layer], skipped: [] } }]),
    );
    expect(document.querySelectorAll("figure").length).toBe(0);
    expect(texts(document, "#overview ul li")).toEqual(["fc1: 2 dead units (0, 1)", "fc1: it takes long"]);
    checkSelfContained(await angleReportPage([{ model: "m.onnx", weights: { layers: [], skipped: [] } }]));
  });

  test("the run that trained a model, where its record is known", async () => {
    const run = runRecord(longRun());
    const model = { model: "m.onnx", weights: { layers: [weightLayer("fc1")], skipped: [] }, run };
    const document = checkSelfContained(await angleReportPage([model]));
    expect(texts(document, "#training figcaption strong")).toEqual(["fc1", "encoder.layers.0.attention.out"]);
  });
});

describe("runReportPage", () => {
  test("a whole run: curves, the penalty's share and gradients, angles, the numbers", async () => {
    const html = await runReportPage(longRun(), { title: "My run", facts: ["A model on data."] });
    const document = checkSelfContained(html);
    expect(texts(document, "h1")).toEqual(["My run"]);
    expect(texts(document, "figcaption strong")).toEqual([
      ...["Training loss", "Validation loss", "Accuracy", "Share in the loss"],
      ...[
        "Gradients: penalty against loss",
        "The same by parameter",
        "fc1",
        "encoder.layers.0.attention.out",
      ],
    ]);
    expect(texts(document, "#numbers tbody tr").length).toBeGreaterThan(5);
    expect(html).toContain("A point is the mean of");
    expect(await runReportPage(longRun(), { title: "My run", facts: ["A model on data."] })).toBe(html);
  });

  test("several penalties are told apart", async () => {
    const events = longRun().map((event) =>
      event.event === "step" ? { ...event, penalties: { som: 0.02, "so.2": 0.01 } } : event,
    );
    const document = checkSelfContained(await runReportPage(events));
    expect(texts(document, "#penalty figure:first-of-type .legend > span")).toEqual(["som", "so.2"]);
  });

  test("a run without penalty, validation or measurements", async () => {
    const events = longRun()
      .filter(({ event }) => event === "step" || event === "end")
      .map((event) => ({ ...event, penalty: 0, penaltyShare: 0 }));
    const document = checkSelfContained(await runReportPage(events));
    expect(texts(document, "figcaption strong")).toEqual(["Training loss"]);
    expect(texts(document, "figure .legend")).toEqual([]);
  });

  test("what went wrong is said: cut off, interrupted, resumed, damaged lines, nothing done", async () => {
    const said = async (events: readonly unknown[]) =>
      texts(checkSelfContained(await runReportPage(events)), "main > ul > li");
    const [first, second] = longRun().filter(({ event }) => event === "step");
    expect(await said([first, second])).toEqual([
      "The record breaks off after step 2: the run was cut off, or failed.",
    ]);
    const end = { event: "end", step: 2, epoch: 1, seconds: 5, samplesPerSecond: 10 };
    expect(await said([first, second, { ...end, stopped: "aborted" }, "{"])).toEqual([
      ...["The run was interrupted after step 2.", "1 line of the record could not be read and is left out."],
    ]);
    expect(await said([first, { ...second, seconds: 0 }, { ...end, stopped: "max-steps" }])).toEqual([
      ...[
        "The run was stopped after step 2, as was asked for.",
        "Resumed after step 1; the time counts from there.",
      ],
    ]);
    expect(await said([])).toEqual(["The record breaks off after step 0: the run was cut off, or failed."]);
  });
});

describe("plots", () => {
  test("a histogram keeps its scale beside a much narrower reference", () => {
    const distribution = { start: 40, width: 10, counts: [1, 2, 4, 8, 10, 8, 4, 2, 1, 0] };
    const svg = angleHistogram(blankDocument(), [{ distribution, color: 0 }], {
      ...{ label: "Angles", reference: normalDensity(0.2) },
    });
    const numbers = [...svg.querySelectorAll("text")].map((text) => Number(text.textContent));
    // The highest bar is 2.5 % a degree; the reference would go to 200.
    expect(Math.max(...numbers.filter((value) => value < 40))).toBeLessThan(4);
    expect(svg.getAttribute("aria-label")).toBe("Angles");
    expect(svg.querySelectorAll("style, [style], [clip-path]").length).toBe(0);
  });

  test("a heat map draws neighbours of one shade as one rectangle", () => {
    const map = { size: 3, unitsPerCell: 1, cells: [null, 0.5, 0.5, 0.5, null, -1, 0.5, -1, null] };
    const svg = cosineHeatMap(blankDocument(), map, { label: "Cosines", scale: 1 });
    const paths = Object.fromEntries(
      [...svg.querySelectorAll("path")].map((path) => [path.getAttribute("class"), path.getAttribute("d")]),
    );
    expect(paths).toEqual({
      none: "M0,0h1v1h-1zM1,1h1v1h-1zM2,2h1v1h-1z",
      p5: "M1,0h2v1h-2zM0,1h1v1h-1zM0,2h1v1h-1z",
      n10: "M2,1h1v1h-1zM1,2h1v1h-1z",
    });
    expect(heatScale([{ ...map, cells: [0.04, null, -0.11] }])).toBe(0.2);
    expect(heatScale([{ ...map, cells: [-0.9] }, map])).toBe(1);
  });

  test("long curves are thinned out with a band; short ones stay", () => {
    const points = Array.from({ length: 1000 }, (_, x) => ({ x, y: x % 2 }));
    const thin = thinned(points);
    expect(thin).toHaveLength(200);
    expect(thin[1]).toEqual({ x: 9, y: 0.6, low: 0, high: 1 });
    expect(thinned(points.slice(0, 240))).toEqual(points.slice(0, 240));
    const broken = thinned(points.map(({ x }) => ({ x, y: Number.NaN })));
    expect(broken.every(({ y }) => Number.isNaN(y))).toBe(true);
  });

  test.each([
    [1, [0, 1]],
    [3, [0, 1, 2, 3]],
    [20, [0, 5, 10, 15, 20]],
    [600, [0, 100, 200, 300, 400, 500, 600]],
  ])("ticks of %i epochs", (last, expected) => expect(wholeTicks(last)).toEqual(expected));
});

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { conversionOf, loadData, readModel } from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const fixtures = "test/fixtures/data";
const folder = temporaryFolder();
afterAll(() => folder.remove());
const at = (name: string) => join(folder.path, name);

interface Figures {
  readonly worst: readonly { readonly sample: string | number; readonly label: string | number }[];
}

const common = ["--batch", "4", "--penalty", "none", "--lr", "0.05", "--no-report", "--threads", "1"];

interface Case {
  readonly model: string;
  readonly data: string;
  readonly flags?: readonly string[];
  readonly summary: string;
  /** The training loss falls to this share. */
  readonly falls: number;
}

const cases: Readonly<Record<string, Case>> = {
  "a CSV file": {
    ...{ model: "vector", data: "flowers.csv", flags: ["--standardize"], falls: 0.5 },
    summary:
      "24 samples: float [5] → float32 [5], labels of 3 classes (setosa, versicolor, virginica), 33.3–33.3 % each",
  },
  "a CSV file with its label, columns and missing values": {
    ...{ model: "named", data: "holes.csv:label", flags: ["--missing", "mean", "--standardize"], falls: 0.5 },
    summary: "24 samples: height float [1] → float32 [1]; rest float [4] → float32 [4], labels of 3 classes",
  },
  "a Parquet file": {
    ...{
      model: "vector",
      data: "flowers-zstd.parquet",
      flags: ["--standardize", "--validation", "0.25"],
      falls: 0.6,
    },
    summary: "24 samples: float [5] → float32 [5], labels of 3 classes",
  },
  "a folder of images": {
    ...{
      model: "image",
      data: "pictures",
      flags: ["--normalize", "imagenet", "--augment", "flip,crop=1"],
      falls: 0.5,
    },
    summary:
      "18 samples: uint8 [3, 6, 8] → float32 [3, 6, 8] ÷ 255 − 0.485/0.456/0.406, ÷ 0.229/0.224/0.225, labels of 3 classes",
  },
  "images in a Parquet file": {
    ...{ model: "image", data: "pictures.parquet", flags: ["--augment", "flip,crop=1"], falls: 0.5 },
    summary:
      "24 samples: uint8 [3, 6, 8] → float32 [3, 6, 8] ÷ 255, labels of 3 classes (setosa, versicolor, virginica)",
  },
  "images as an .npz file, channels last": {
    ...{
      model: "image",
      data: "images-last.npz",
      flags: ["--augment", "flip,crop=1,color=0.1"],
      falls: 0.95,
    },
    summary: "24 samples: uint8 [6, 8, 3] → float32 [3, 6, 8] ÷ 255, labels of 3 classes, 33.3–33.3 % each",
  },
  "IDX files": {
    ...{ model: "grey", data: "idx", flags: ["--normalize", "data"], falls: 0.9 },
    summary: "24 samples: uint8 [6, 8] → float32 [1, 6, 8] ÷ 255 − 0.",
  },
};

describe("from a file to a trained model", () => {
  test.each(Object.entries(cases))("%s", async (_, { model, data, flags = [], summary, falls }) => {
    const output = at(`${model}-${data.replace(/\W/g, "-")}.onnx`);
    const source = `${fixtures}/${data}`;
    const train = [
      "train",
      `${fixtures}/${model}.onnx`,
      "--data",
      source,
      ...common,
      ...flags,
      "--epochs",
      "12",
    ];
    const { code, stderr } = await cli(...train, "-o", output);
    expect([code, stderr]).toEqual([0, expect.stringContaining(`data: ${summary}`)]);
    const events = readFileSync(output.replace(/onnx$/, "run/run.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; loss: number })
      .filter(({ event }) => event === "epoch");
    expect(events.at(-1)?.loss).toBeLessThan((events[0]?.loss ?? 0) * falls);

    // The model says how its data were converted; other commands convert theirs alike.
    const trained = await readModel(output);
    const conversion = conversionOf(trained);
    expect(conversion?.summary).toContain(summary);
    const settings = JSON.parse(readFileSync(output.replace(/onnx$/, "run/run.json"), "utf8")) as {
      data: unknown;
    };
    expect(settings.data).toEqual(conversion);
    const plain = source.replace(/:label$/, "");
    const again = await loadData(plain, { model: trained, ...(conversion && { conversion }) });
    expect(again.train.size).toBe(data === "pictures" ? 18 : 24);
    const angles = await cli("angles", output, "--data", plain, "--samples", "8", "--json");
    expect([angles.code, angles.stderr]).toEqual([0, expect.not.stringContaining("error")]);
    // The model before its training says nothing about data, and gets those of the trained one.
    const both = await cli(
      "angles",
      `${fixtures}/${model}.onnx`,
      output,
      "--data",
      plain,
      "--samples",
      "8",
      "--json",
    );
    expect([both.code, both.stderr]).toEqual([0, expect.not.stringContaining("error")]);
    expect(JSON.parse(both.stdout)[1].responses).toEqual(JSON.parse(angles.stdout)[0].responses);
    const answers = at("answers.csv");
    const predicted = await cli(
      "predict",
      output,
      "--data",
      plain,
      "--part",
      "train",
      "-o",
      answers,
      "--force",
    );
    expect(predicted.code).toBe(0);
    const [, first = ""] = readFileSync(answers, "utf8").split("\n");
    const sample = data === "pictures" ? "train/setosa/00.png" : "0";
    expect(first.split(",")[0]).toBe(sample);
    if (conversion?.classes) {
      expect(conversion.classes).toContain(first.split(",")[1]);
      const [heading] = readFileSync(answers, "utf8").split("\n");
      expect(heading).toBe(["sample", "answer", ...conversion.classes.map((one) => `score.${one}`)].join());
    }
    const page = at("evaluation.html");
    const evaluated = await cli(
      ...["evaluate", output, "--data", plain, "--part", "train", "--worst", "3", "--json"],
      ...["--html", page, "--force"],
    );
    expect(evaluated).toMatchObject({ code: 0, stderr: expect.stringContaining(`page: ${page}`) });
    const figures = JSON.parse(evaluated.stdout) as Figures;
    expect(figures).toMatchObject({
      samples: again.train.size,
      loss: expect.any(Number),
      accuracy: expect.any(Number),
    });
    const html = readFileSync(page, "utf8");
    for (const { sample, label } of figures.worst) {
      expect(typeof sample).toBe(data === "pictures" ? "string" : "number");
      if (conversion?.classes) expect(conversion.classes).toContain(label);
      expect(html).toContain(`${sample}`);
    }
    // Images are shown, and nothing is loaded from elsewhere.
    const isImage = data !== "holes.csv:label" && model !== "vector";
    expect(html.match(/<img [^>]*src="data:image\/png;base64,/g)?.length ?? 0).toBe(isImage ? 3 : 0);
    expect(html.includes("img-src data:")).toBe(isImage);
    expect(html).toContain("Confusion matrix");
    const exported = at("exported.onnx");
    const { code: exportCode } = await cli(
      "export",
      output.replace(/onnx$/, "run"),
      "-o",
      exported,
      "--force",
    );
    expect([exportCode, conversionOf(await readModel(exported))]).toEqual([0, conversion]);
  });
});

test("a run on augmented images is resumed bit for bit, with nothing but its folder", async () => {
  const flags = ["--augment", "flip,crop=0.25,color,mixup=0.2", "--normalize", "data", "--validation", "0.2"];
  const train = [
    "train",
    `${fixtures}/image.onnx`,
    "--data",
    `${fixtures}/pictures`,
    ...common,
    ...flags,
    "--epochs",
    "4",
  ];
  expect((await cli(...train, "-o", at("whole.onnx"))).code).toBe(0);
  expect((await cli(...train, "-o", at("part.onnx"), "--max-steps", "7")).code).toBe(0);
  rmSync(at("part.onnx"));
  const resumed = await cli("train", "--resume", at("part.run"), "--epochs", "4", "-o", at("part.onnx"));
  expect([resumed.code, resumed.stderr]).toEqual([0, expect.any(String)]);
  const [whole, part] = [await readModel(at("whole.onnx")), await readModel(at("part.onnx"))];
  expect(equalBytes(whole.bytes, part.bytes)).toBe(true);
});

test.each([
  [["vector", "flowers.csv", "--augment", "flip"], "augmentation changes images, [height, width]"],
  [["vector", "flowers.csv", "--resize", "crop"], "--resize belongs to folders of images"],
  [
    ["vector", "flowers.csv", "--batch", "8", "--augment", "mixup=1", "--objective", "bce"],
    "give the objective bce 3 numbers",
  ],
  [["image", "pictures", "--augment", "crop=1.5"], '"crop=1.5": crop takes a whole number of pixels'],
  [["image", "pictures", "--augment", "mixup"], '"mixup": mixup takes a number above 0'],
  [["image", "pictures", "--augment", "flip=1"], '"flip=1" is none of flip, crop=PIXELS'],
  [["vector", "array-int8.npz", "--standardize"], "--standardize belongs to tables"],
  [["image", "pictures", "--label", "y"], "--label belongs to tables"],
  [["vector", "holes.csv"], "use --missing mean, zero or drop"],
  [
    ["image", "pictures", "--normalize", "mean=0.5/0.5,std=1/1"],
    "--normalize has 2 channels, but samples have shape [3, 6, 8]",
  ],
  [["image", "pictures", "--normalize", "mean=0.5"], "Give 0..1, none, imagenet, data, or mean=…,std=…"],
  [["image", "pictures", "--augment", "turn"], '"turn" is none of flip, crop=PIXELS'],
])("%j is refused", async ([model, data, ...flags], says) => {
  const { code, stderr } = await cli(
    "train",
    `${fixtures}/${model}.onnx`,
    "--data",
    `${fixtures}/${data}`,
    ...flags,
  );
  expect(code).toBeGreaterThan(0);
  expect(stderr).toContain(says);
});

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { applyChange, drawChange } from "../../src/data/images/augment.ts";
import { decodeImage } from "../../src/data/images/decode-node.ts";
import { channelStatistics } from "../../src/data/statistics.ts";
import { arrayDataset, augmentedDataset, type Dataset, loadData, readModel } from "../../src/index.ts";

const fixtures = "test/fixtures/data";
const own = mkdtempSync(join(tmpdir(), "sorth-images-"));
afterAll(() => rmSync(own, { recursive: true, force: true }));

const exact = JSON.parse(readFileSync(`${fixtures}/exact.json`, "utf8")) as {
  readonly pixels: number[][][];
  readonly grey: number[][];
};
const model = (name: string) => readModel(`${fixtures}/${name}.onnx`);

describe("a folder of images", () => {
  test("the folders name classes and parts; PNG, JPEG and WebP of any size get the model's", async () => {
    const {
      train,
      validation,
      test: held,
      conversion,
    } = await loadData(`${fixtures}/pictures`, { model: await model("image") });
    expect([train.size, validation?.size, held?.size]).toEqual([18, 3, 3]);
    expect([train.x.shape, conversion?.classes]).toEqual([
      [3, 6, 8],
      ["setosa", "versicolor", "virginica"],
    ]);
    const x = new Float32Array(train.size * 144);
    const y = new Float64Array(train.size);
    await train.fill(Array.from(y.keys()), x, y);
    // Each class has a channel of its own that is bright.
    for (const [row, label] of y.entries()) {
      const means = [0, 1, 2].map(
        (c) => x.subarray(row * 144 + c * 48, row * 144 + (c + 1) * 48).reduce((a, b) => a + b) / 48,
      );
      expect(means.indexOf(Math.max(...means))).toBe(label);
    }
    expect(train.sampleName?.(0)).toMatch(/^train\/setosa\/00\.png$/);
  });

  test.each([
    [
      "image",
      exact.pixels.length * 24,
      [0, 1, 2].flatMap((c) => exact.pixels.flat().map((pixel) => pixel[c])),
    ],
    ["image-last", 144, exact.pixels.flat(2)],
  ])("%s: the pixels of the file in the model's layout", async (name, elements, expected) => {
    const { train } = await loadData(`${fixtures}/exact`, { model: await model(name) });
    const x = new Float32Array(elements);
    await train.fill([0], x, new Int32Array(1));
    expect([...x]).toEqual(expected);
  });

  test("links name classes and images as folders and files do; hidden files of other systems are none", async () => {
    const root = join(own, "linked");
    mkdirSync(join(root, "cat"), { recursive: true });
    mkdirSync(join(own, "elsewhere/deeper"), { recursive: true });
    const picture = `${fixtures}/exact/a/colour.png`;
    for (const path of [
      join(root, "cat/1.png"),
      join(own, "elsewhere/2.png"),
      join(own, "elsewhere/deeper/3.png"),
    ]) {
      cpSync(picture, path);
    }
    symlinkSync("../elsewhere", join(root, "dog"));
    symlinkSync("1.png", join(root, "cat/4.png"));
    // Back to the folder itself, and to each other.
    symlinkSync("..", join(root, "cat/loop"));
    symlinkSync(root, join(own, "elsewhere/deeper/back"));
    for (const hidden of [".DS_Store", "Thumbs.db", "desktop.ini", "._1.png"])
      writeFileSync(join(root, "cat", hidden), "x");
    mkdirSync(join(root, "__MACOSX/cat"), { recursive: true });
    writeFileSync(join(root, "__MACOSX/cat/._1.png"), "x");
    const { train, conversion } = await loadData(root, { model: await model("image") });
    expect(conversion?.classes).toEqual(["cat", "dog"]);
    const names = Array.from({ length: train.size }, (_, i) => train.sampleName?.(i));
    expect(names).toEqual(["cat/1.png", "cat/4.png", "dog/2.png", "dog/deeper/3.png"]);
  });

  test("grey for a model of one channel, grey in all channels for a model of three", async () => {
    const one = await loadData(`${fixtures}/exact`, { model: await model("grey") });
    const x = new Float32Array(48);
    await one.train.fill([1], x, new Int32Array(1));
    expect([...x]).toEqual(exact.grey.flat());
    // What Pillow makes of the coloured image.
    await one.train.fill([0], x, new Int32Array(1));
    x.forEach((value, i) => {
      expect(Math.abs(value - (exact.grey.flat()[i] ?? 0))).toBeLessThanOrEqual(1);
    });
    const three = await loadData(`${fixtures}/exact`, { model: await model("image") });
    const colours = new Float32Array(144);
    await three.train.fill([1], colours, new Int32Array(1));
    expect([...colours]).toEqual([...exact.grey.flat(), ...exact.grey.flat(), ...exact.grey.flat()]);
  });

  test("grey, 16 bits, transparent, palettes, one bit, CMYK, TIFF, GIF and turned images have the colours of Pillow", async () => {
    const seen = JSON.parse(readFileSync(`${fixtures}/forms.json`, "utf8")) as Record<string, number[][][]>;
    const { train } = await loadData(`${fixtures}/forms`, { model: await model("image-last") });
    expect(train.size).toBe(Object.keys(seen).length);
    const differences: Record<string, number> = {};
    for (let i = 0; i < train.size; i++) {
      const x = new Float32Array(144);
      await train.fill([i], x, new Int32Array(1));
      const path = train.sampleName?.(i) ?? "";
      const expected = seen[path]?.flat(2) ?? [];
      differences[path] = Math.max(...x.map((value, k) => Math.abs(value - (expected[k] ?? Number.NaN))));
    }
    const largest = (path: string) => (path === "b/cmyk.jpg" ? 60 : path === "b/PHOTO.JPEG" ? 2 : 0);
    expect(Object.entries(differences).filter(([path, value]) => !(value <= largest(path)))).toEqual([]);
  });

  test("other images for a trained model: its classes and its size; without class folders no labels", async () => {
    const { conversion } = await loadData(`${fixtures}/pictures`, { model: await model("image") });
    const options = { model: await model("image"), conversion } as const;
    cpSync(`${fixtures}/pictures/train/virginica`, join(own, "new", "virginica"), { recursive: true });
    const labels = new Float64Array(2);
    const { train } = await loadData(join(own, "new"), options as never);
    await train.fill([0, 1], new Float32Array(288), labels);
    expect([...labels]).toEqual([2, 2]);
    cpSync(`${fixtures}/pictures/train/virginica`, join(own, "unknown"), { recursive: true });
    expect((await loadData(join(own, "unknown"), options as never)).train.y.type).toBe("none");
    cpSync(`${fixtures}/exact/a`, join(own, "new", "tulip"), { recursive: true });
    await expect(loadData(join(own, "new"), options as never)).rejects.toThrow(
      'the folder "tulip" is none of the model\'s classes',
    );
  });

  test("files that are no images are named before training, damaged ones when they are read", async () => {
    const folder = join(own, "broken");
    cpSync(`${fixtures}/exact`, folder, { recursive: true });
    const options = { model: await model("image") };
    writeFileSync(join(folder, "a", "text.png"), "no image");
    writeFileSync(join(folder, "a", "nothing.png"), "");
    writeFileSync(join(folder, "a", "phone.heic"), "\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    await expect(loadData(folder, options)).rejects.toThrow(
      /nothing\.png is empty, and 2 more like it.*phone\.heic is no PNG.*text\.png is no PNG/,
    );
    for (const name of ["text.png", "phone.heic"]) rmSync(join(folder, "a", name));
    const whole = readFileSync(`${fixtures}/exact/a/colour.png`);
    writeFileSync(join(folder, "a", "nothing.png"), whole.subarray(0, 100));
    const { train } = await loadData(folder, options);
    await expect(train.fill([1], new Float32Array(144), new Int32Array(1))).rejects.toThrow(
      /nothing\.png: cannot be decoded/,
    );
    // As training reads them, many at once: sharp then loses the reason of some.
    const photo = readFileSync(`${fixtures}/pictures/test/setosa/12.jpg`);
    const content = photo.subarray(0, photo.length - 60);
    const decode = () =>
      decodeImage({ name: "photo", content }, { height: 6, width: 8, channels: 3 }, "crop");
    const reasons = await Promise.all(Array.from({ length: 32 }, () => decode().catch(String)));
    expect(reasons.join()).not.toMatch(/Unknown error/);
    expect(reasons.join()).toMatch(/photo: cannot be decoded \(VipsJpeg: premature end of JPEG image\)/);
  });

  test.each([
    ["vector", "images need [1 or 3, height, width]"],
    ["named", "images fit a model with one input for data; this one has 2"],
  ])("a model %s takes none", async (name, says) => {
    await expect(loadData(`${fixtures}/exact`, { model: await model(name) })).rejects.toThrow(says);
  });

  test("without a model there is no size", async () => {
    await expect(loadData(`${fixtures}/exact`)).rejects.toThrow("a folder of images needs the model");
  });

  test("mean and deviation of the channels", async () => {
    const { train } = await loadData(`${fixtures}/exact`, { model: await model("image-last") });
    const { mean, std } = await channelStatistics(train);
    const grey = exact.grey.flat();
    for (const c of [0, 1, 2]) {
      const values = [...exact.pixels.flat().map((pixel) => pixel[c] as number), ...grey].map(
        (value) => value / 255,
      );
      const average = values.reduce((a, b) => a + b) / values.length;
      expect(mean[c]).toBeCloseTo(average, 6);
      expect((std[c] as number) ** 2).toBeCloseTo(
        values.reduce((a, b) => a + (b - average) ** 2, 0) / values.length,
        6,
      );
    }
  });

  test("numbers far from 0 keep the digits of their deviation, and equal ones have none", async () => {
    const x = Float32Array.from([-1, 0, 1, 0], (value) => 1e8 + 64 * value);
    const of = (x: Float32Array) => channelStatistics(arrayDataset(x, new Int32Array(4), [1]));
    expect((await of(x)).std[0]).toBeCloseTo(64 * Math.sqrt(0.5), 9);
    expect(await of(new Float32Array(4).fill(0.7))).toEqual({ mean: [Math.fround(0.7)], std: [1] });
  });
});

describe("augmentation", () => {
  const size = { height: 6, width: 8, channels: 3 };
  const all = { flip: true, crop: 0.5, color: 0.3 };

  test("depends on seed, epoch and sample only, and is off without a pass", async () => {
    const options = { model: await model("image"), augment: all };
    const { train } = await loadData(`${fixtures}/pictures`, options);
    const plain = await loadData(`${fixtures}/pictures`, { model: options.model });
    const read = async (data: typeof train, rows: number[], pass?: { seed: number; epoch: number }) => {
      const x = new Float32Array(rows.length * 144);
      await data.fill(rows, x, new Int32Array(rows.length), pass);
      return rows.map((_, i) => [...x.subarray(i * 144, (i + 1) * 144)]);
    };
    const [a, b] = await read(train, [3, 4], { seed: 1, epoch: 0 });
    expect(await read(train, [4, 3], { seed: 1, epoch: 0 })).toEqual([b, a]);
    expect(await read(train, [3], { seed: 1, epoch: 1 })).not.toEqual([a]);
    expect(await read(train, [3], { seed: 2, epoch: 0 })).not.toEqual([a]);
    expect(await read(train, [3])).toEqual(await read(plain.train, [3]));
  });

  test("a mirrored picture of a folder is the plain one from right to left", async () => {
    const options = { model: await model("image"), augment: { flip: true } };
    const { train } = await loadData(`${fixtures}/pictures`, options);
    const rows = [...Array(18).keys()];
    const [plain, changed] = [new Float32Array(18 * 144), new Float32Array(18 * 144)];
    await train.fill(rows, plain, new Int32Array(18));
    await train.fill(rows, changed, new Int32Array(18), { seed: 0, epoch: 0 });
    const mirrored = plain.map((_, i) => plain[i - (i % 8) + 7 - (i % 8)] as number);
    const flips = rows.map((row) => {
      const own = (all: Float32Array) => all.subarray(row * 144, (row + 1) * 144);
      const isFlipped = drawChange({ flip: true }, size, { seed: 0, epoch: 0 }, row).flips;
      expect(own(changed)).toEqual(own(isFlipped ? mirrored : plain));
      return isFlipped;
    });
    expect(new Set(flips).size).toBe(2);
  });

  test("flips, cuts and colours", () => {
    const changes = Array.from({ length: 200 }, (_, i) => drawChange(all, size, { seed: 0, epoch: 0 }, i));
    expect(changes.filter(({ flips }) => flips).length).toBeGreaterThan(70);
    expect(new Set(changes.map(({ top }) => top))).toEqual(new Set([0, 1, 2, 3]));
    expect(new Set(changes.map(({ left }) => left))).toEqual(new Set([0, 1, 2, 3, 4]));
    expect(changes.every(({ factors }) => factors?.every((one) => one >= 0.7 && one <= 1.3))).toBe(true);
    const pixels = Uint8Array.from({ length: 12 }, (_, i) => i);
    const change = { enlarged: { height: 3, width: 4 }, top: 1, left: 1, flips: true, factors: undefined };
    expect([...applyChange(pixels, change, { height: 2, width: 2, channels: 1 })]).toEqual([6, 5, 10, 9]);
    const same = {
      enlarged: { height: 2, width: 2 },
      top: 0,
      left: 0,
      flips: false,
      factors: [1, 1, 1],
    } as const;
    expect([...applyChange(pixels, same, { height: 2, width: 2, channels: 3 })]).toEqual([...pixels]);
    const brighter = { ...same, factors: [2, 1, 1] } as const;
    expect([...applyChange(pixels, brighter, { height: 2, width: 2, channels: 3 })]).toEqual(
      [...pixels].map((v) => 2 * v),
    );
  });

  test("crop=2 shifts by up to two pixels each way, with black beyond the borders, as torchvision's padding", () => {
    const own = { height: 3, width: 4, channels: 1 };
    const pixels = Uint8Array.from({ length: 12 }, (_, i) => i + 1);
    const changes = Array.from({ length: 300 }, (_, i) =>
      drawChange({ crop: 2 }, own, { seed: 1, epoch: 0 }, i),
    );
    expect(new Set(changes.map(({ top, left }) => `${top} ${left}`)).size).toBe(25);
    expect(Math.min(...changes.map(({ top }) => top))).toBe(-2);
    const change = { enlarged: own, top: -1, left: 2, flips: false, factors: undefined };
    expect([...applyChange(pixels, change, own)]).toEqual([0, 0, 0, 0, 3, 4, 0, 0, 7, 8, 0, 0]);
    expect([...applyChange(pixels, { ...change, flips: true }, own)].slice(4, 8)).toEqual([0, 0, 4, 3]);
  });
});

describe("augmentation of arrays", () => {
  const pass = { seed: 3, epoch: 1 };
  const pixels = Uint8Array.from({ length: 5 * 6 * 8 * 3 }, (_, i) => (i * 37) % 256);
  const first = Uint8Array.from(pixels, (_, i) => {
    const [n, c, place] = [Math.floor(i / 144), Math.floor((i % 144) / 48), i % 48];
    return pixels[n * 144 + place * 3 + c] as number;
  });
  const read = async (data: Dataset, own?: typeof pass) => {
    const x = new Float32Array(pixels.length);
    await data.fill([0, 1, 2, 3, 4], x, new Int32Array(5), own);
    return [...x];
  };
  const last = arrayDataset(pixels, new Int32Array(5), [6, 8, 3]);
  const changes = { flip: true, crop: 2, color: 0.3 };

  test("channels first and last change alike, as images of a folder do; only while training", async () => {
    const changed = await read(await augmentedDataset(last, changes), pass);
    const expected = [0, 1, 2, 3, 4].flatMap((n) => {
      const size = { height: 6, width: 8, channels: 3 };
      return [...applyChange(pixels.slice(n * 144, (n + 1) * 144), drawChange(changes, size, pass, n), size)];
    });
    expect(changed).toEqual(expected);
    const moved = await read(
      await augmentedDataset(arrayDataset(first, new Int32Array(5), [3, 6, 8]), changes),
      pass,
    );
    expect(moved).toEqual(
      Array.from(moved, (_, i) => {
        const [n, c, place] = [Math.floor(i / 144), Math.floor((i % 144) / 48), i % 48];
        return expected[n * 144 + place * 3 + c];
      }),
    );
    expect(await read(await augmentedDataset(last, changes))).toEqual([...pixels]);
  });

  test("a share enlarges; floats from 0 to 1 stay in that range; normalised digits get their black", async () => {
    const constant = arrayDataset(new Uint8Array(720).fill(9), new Int32Array(5), [6, 8, 3]);
    expect(new Set(await read(await augmentedDataset(constant, { crop: 0.5 }), pass))).toEqual(new Set([9]));
    const floats = arrayDataset(
      Float32Array.from(pixels, (v) => v / 255),
      new Int32Array(5),
      [6, 8, 3],
    );
    const coloured = await read(await augmentedDataset(floats, { color: 1 }), pass);
    expect([Math.min(...coloured), Math.max(...coloured)]).toEqual([0, 1]);
    const digits = arrayDataset(new Uint8Array(720).fill(255), new Int32Array(5), [6, 8, 3], {
      normalize: { mean: 0.5, std: 0.5 },
    });
    expect(new Set(await read(await augmentedDataset(digits, { crop: 3 }), pass))).toEqual(new Set([-1, 1]));
    await expect(augmentedDataset(digits, { color: 0.1 })).rejects.toThrow(
      "x holds -1 … 1, and color changes pixels",
    );
    await expect(
      augmentedDataset(arrayDataset(first, new Int32Array(5), [144]), { flip: true }),
    ).rejects.toThrow("samples have shape [144]");
  });
});

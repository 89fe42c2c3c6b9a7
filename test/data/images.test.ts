import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { imageClasses } from "../../src/data/image-classes.ts";
import { usedPart, withChannels } from "../../src/data/images/browser-images.ts";
import { inputForm } from "../../src/data/images/image-form.ts";
import { loadImages } from "../../src/data/images-web.ts";

describe("imageClasses", () => {
  test("the folder of an image is its class; test, val and validation above it hold it out", () => {
    const paths = [
      "pets/train/dog/2.PNG",
      "pets/train/dog/1.jpeg",
      "pets/train/cat/1.webp",
      "pets/Validation/dog/9.png",
      "pets/test/cat/8.png",
      "pets/train/cat/.hidden.png",
      "pets/.git/cat/x.png",
      "pets/train/cat/notes.txt",
    ];
    const { classes, train, validation, test: held } = imageClasses(paths, "pets");
    expect(classes).toEqual(["cat", "dog"]);
    expect(train).toEqual([
      { path: "pets/train/cat/1.webp", label: 0 },
      { path: "pets/train/dog/1.jpeg", label: 1 },
      { path: "pets/train/dog/2.PNG", label: 1 },
    ]);
    expect([validation, held]).toEqual([
      [{ path: "pets/Validation/dog/9.png", label: 1 }],
      [{ path: "pets/test/cat/8.png", label: 0 }],
    ]);
  });

  test("a class may be called test", () => {
    const { classes, test: held } = imageClasses(["a/test/1.png", "a/other/1.png"], "a");
    expect([classes, held]).toEqual([["other", "test"], []]);
  });

  test.each([
    // torchvision's ImageFolder: folders below belong to the class.
    [
      ["a/x/1.png", "a/y/2.png", "b/z/3.png"],
      ["a", "b"],
      [0, 0, 1],
    ],
    // Folders around the data.
    [
      ["set/images/a/1.png", "set/images/b/2.png"],
      ["a", "b"],
      [0, 1],
    ],
    [
      ["set/train/a/x/1.png", "set/test/b/2.png", "set/train/b/3.png"],
      ["a", "b"],
      [0, 1],
    ],
    [
      ["Training/a/1.tif", "Training/b/2.TIFF"],
      ["a", "b"],
      [0, 1],
    ],
  ])("%j has the classes %j", (paths, names, labels) => {
    const { classes, train } = imageClasses(paths, "set");
    expect([classes, train.map(({ label }) => label)]).toEqual([names, labels]);
  });

  test("parts may lie within the classes", () => {
    const {
      classes,
      train,
      test: held,
    } = imageClasses(["chair/train/1.png", "chair/test/2.png", "table/train/3.png"], "m");
    expect([classes, train.length, held]).toEqual([
      ["chair", "table"],
      2,
      [{ path: "chair/test/2.png", label: 0 }],
    ]);
  });

  test("a trained model's class is found though it is the only folder", () => {
    const { train } = imageClasses(["dog/x/1.png", "dog/x/2.png"], "new", ["cat", "dog"]);
    expect(train.map(({ label }) => label)).toEqual([1, 1]);
  });

  test("images that nothing here decodes are not left out without a word", () => {
    const paths = ["a/1.jfif", "a/2.HEIC", "b/3.ppm", "b/4.jxl", "b/notes.txt", "b/.5.png"];
    expect(imageClasses(paths, "m").train.map(({ path }) => path)).toEqual(paths.slice(0, 4));
  });

  test("an image beside the class folders is named", () => {
    expect(() => imageClasses(["a/1.png", "b/2.png", "3.png"], "m")).toThrow(
      'm: "3.png" lies in no class folder',
    );
  });

  test.each([
    [[], "there is no image in it"],
    [["a/b.txt"], "there is no image in it"],
    [["1.png", "2.png"], "not sorted into two classes or more"],
    [["a/1.png", "a/2.png"], "not sorted into two classes or more"],
  ])("%j is refused", (paths, says) => {
    expect(() => imageClasses(paths, "a")).toThrow(
      `a: ${says.startsWith("not") ? `the images are ${says}` : says}`,
    );
  });
});

test("pixels become three channels, or their luma", () => {
  const pixels = Uint8ClampedArray.of(255, 0, 0, 255, 0, 255, 51, 0);
  expect([...withChannels(pixels, 3)]).toEqual([255, 0, 0, 0, 255, 51]);
  expect([...withChannels(pixels, 1)]).toEqual([76, 155]);
});

test.each([
  [[3, 32, 20], { shape: [3, 32, 20], channelsLast: false }],
  [[32, 20, 3], { shape: [32, 20, 3], channelsLast: true }],
  [[32, 20], { shape: [1, 32, 20], channelsLast: false }],
  [[784], { shape: [1, 28, 28], channelsLast: false }],
  [[300], { shape: [3, 10, 10], channelsLast: false }],
  [[77], undefined],
  [[4, 8, 8], undefined],
])("an input %j takes images in the form %j", (shape, form) => {
  expect(inputForm(shape)).toEqual(form);
});

test("a browser crops the middle of the shape's proportions, or stretches the whole image", () => {
  const image = { width: 100, height: 60 };
  expect(usedPart(image, { width: 28, height: 28 }, "crop")).toEqual([20, 0, 60, 60]);
  expect(usedPart(image, { width: 10, height: 20 }, "crop")).toEqual([35, 0, 30, 60]);
  expect(usedPart(image, { width: 28, height: 28 }, "stretch")).toEqual([0, 0, 100, 60]);
});

describe("images that a browser decodes", () => {
  /** Stands in for a browser: behind the first bytes of a PNG file stands the grey of each of its four pixels. */
  class Canvas {
    #grey: Uint8Array = new Uint8Array();
    getContext = () => this;
    fillRect = () => {};
    drawImage = ({ grey }: { grey: Uint8Array }) => {
      this.#grey = grey;
    };
    getImageData = () => ({ data: rgba(this.#grey) });
  }
  const rgba = (grey: Uint8Array) => Uint8ClampedArray.from([...grey].flatMap((v) => [v, v + 1, v + 2, 255]));
  let [decoded, open, most] = [0, 0, 0];
  beforeAll(() => {
    vi.stubGlobal("OffscreenCanvas", Canvas);
    vi.stubGlobal("createImageBitmap", async (file: Blob) => {
      decoded += 1;
      open += 1;
      most = Math.max(most, open);
      const grey = new Uint8Array(await file.arrayBuffer()).subarray(signature.length);
      const close = () => {
        open -= 1;
      };
      if (grey.length === 4) return { grey, width: 2, height: 2, close };
      close();
      throw new Error("no image");
    });
  });
  afterAll(() => {
    vi.unstubAllGlobals();
  });

  const signature = [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10];
  const file = (path: string, ...bytes: number[]) => ({ path, content: new Blob([Uint8Array.from(bytes)]) });
  const png = (path: string, ...grey: number[]) => file(path, ...signature, ...grey);
  const files = [
    ...Array.from({ length: 6 }, (_, i) =>
      png(`set/${i % 2 ? "b" : "a"}/${i}.png`, i, 10 + i, 20 + i, 30 + i),
    ),
    file("set/a/broken.png", 1, 2, 3),
    png("set/test/b/7.png", 70, 80, 90, 100),
  ];

  test.each([
    [
      [3, 2, 2],
      [0, 10, 20, 30, 1, 11, 21, 31, 2, 12, 22, 32],
    ],
    [
      [2, 2, 3],
      [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32],
    ],
    [
      [1, 2, 2],
      [1, 11, 21, 31],
    ],
  ])("as samples of shape %j, whatever is held in memory", async (shape, first) => {
    const rows: unknown[] = [];
    for (const memory of [1000, 20, 0]) {
      const loaded = await loadImages(files, { shape, memory });
      expect(loaded.broken).toEqual(["set/a/broken.png"]);
      expect([loaded.train.size, loaded.test?.size, loaded.train.y.classes]).toEqual([6, 1, 2]);
      const before = decoded;
      const x = new Float32Array(6 * first.length);
      const y = new Int32Array(6);
      await loaded.train.fill([0, 1, 2, 3, 4, 5], x, y);
      expect(decoded - before).toBe(6);
      // Again by two readers at once: what fits into the share of memory for these 7 of 8 files is held, the rest is decoded once.
      await Promise.all([0, 1].map(() => loaded.train.fill([0, 1, 2, 3, 4, 5], x.slice(), y.slice())));
      expect(decoded - before).toBe(12 - Math.min(6, Math.floor((memory * 7) / 8 / first.length)));
      expect([...x.subarray(0, first.length)]).toEqual(first);
      expect([...y]).toEqual([0, 0, 0, 1, 1, 1]);
      rows.push([...x]);
    }
    expect(rows[1]).toEqual(rows[0]);
    expect(rows[2]).toEqual(rows[0]);
  });

  test("nothing is decoded before it is read, few images at a time, and a damaged one is named", async () => {
    [decoded, most] = [0, 0];
    const many = Array.from({ length: 200 }, (_, i) => png(`set/${i % 2 ? "b" : "a"}/${i}.png`, i, i, i, i));
    const { train } = await loadImages([...many, png("set/a/damaged.png", 1)], {
      shape: [1, 2, 2],
      memory: 0,
    });
    expect([train.size, decoded]).toEqual([201, 0]);
    const names = Array.from({ length: 201 }, (_, i) => train.sampleName?.(i) ?? "");
    const damaged = names.indexOf("set/a/damaged.png");
    const rows = Array.from(names.keys()).filter((row) => row !== damaged);
    const x = new Float32Array(200 * 4);
    await train.fill(rows, x, new Int32Array(200));
    // The luma of v, v + 1 and v + 2.
    expect(rows.map((_, i) => x[4 * i])).toEqual(rows.map((row) => Number(names[row]?.match(/\d+/)) + 1));
    expect([decoded, most, open]).toEqual([200, 16, 0]);
    await expect(train.fill([damaged], x, new Int32Array(1))).rejects.toThrow(
      "set: the browser cannot decode set/a/damaged.png (no image): leave it out",
    );
  });

  test("shapes that are none of images, and folders without any that can be decoded, are refused", async () => {
    await expect(loadImages(files, { shape: [4, 2, 2] })).rejects.toThrow(
      "images cannot become samples of shape",
    );
    const none = [file("set/a/1.png", 1), file("set/b/2.png", 2)];
    await expect(loadImages(none, { shape: [1, 2, 2] })).rejects.toThrow(
      "set: none of 2 images can be decoded",
    );
  });
});

test.each([
  ["nothing", null],
  ["a promise", Promise.resolve([])],
  ["a Map", new Map()],
  ["files alone", [new Blob([])]],
  ["a list with a gap", [null]],
])("%s in the place of images says how to make them", async (_, files) => {
  await expect(loadImages(files as never, { shape: [1, 28, 28] })).rejects.toThrow(
    "images are { path, content }: [...input.files].map((content) => ({ path: content.webkitRelativePath, content }))",
  );
});

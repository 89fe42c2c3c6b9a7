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

  test("an image beside the class folders is named", () => {
    expect(() => imageClasses(["a/1.png", "b/2.png", "3.png"], "m")).toThrow(
      'm: "3.png" lies in no class folder',
    );
  });

  test.each([
    [[], "there is no image in it"],
    [["a/b.txt"], "there is no image in it"],
    [["1.png", "2.png"], "not sorted into classes"],
    [["a/1.png", "a/2.png"], "not sorted into classes"],
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
  /** Stands in for a browser: a file holds the grey of each of its pixels, and "no image" is none. */
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
  let decoded = 0;
  beforeAll(() => {
    vi.stubGlobal("OffscreenCanvas", Canvas);
    vi.stubGlobal("createImageBitmap", async (file: Blob) => {
      decoded += 1;
      const grey = new Uint8Array(await file.arrayBuffer());
      if (grey.length !== 4) throw new Error("no image");
      return { grey, width: 2, height: 2, close: () => {} };
    });
  });
  afterAll(() => {
    vi.unstubAllGlobals();
  });

  const file = (path: string, ...grey: number[]) => ({ path, content: new Blob([Uint8Array.from(grey)]) });
  const files = [
    ...Array.from({ length: 6 }, (_, i) =>
      file(`set/${i % 2 ? "b" : "a"}/${i}.png`, i, 10 + i, 20 + i, 30 + i),
    ),
    file("set/a/broken.png", 1, 2, 3),
    file("set/test/b/7.png", 70, 80, 90, 100),
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
      expect(decoded > before).toBe(memory < 1000);
      expect([...x.subarray(0, first.length)]).toEqual(first);
      expect([...y]).toEqual([0, 0, 0, 1, 1, 1]);
      rows.push([...x]);
    }
    expect(rows[1]).toEqual(rows[0]);
    expect(rows[2]).toEqual(rows[0]);
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

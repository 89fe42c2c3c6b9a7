import { describe, expect, test } from "vitest";
import { imageClasses } from "../../src/data/image-classes.ts";
import { usedPart, withChannels } from "../../src/data/images/browser-images.ts";
import { inputForm } from "../../src/data/images/image-form.ts";

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

import { describe, expect, it, test } from "vitest";
import { arrayDataset } from "../../src/index.ts";
import { classesIn, followed, mismatch } from "../../web/setup/class-list.ts";
import { ImageCollection } from "../../web/setup/image-collection.ts";
import { labelsIn } from "../../web/worker/fine-tune.ts";
import { relabelled } from "../../web/worker/relabelled.ts";

test.each([
  ["cat, dog ,cat,", ["cat", "dog"]],
  ["cats, small\n\n dogs ", ["cats, small", "dogs"]],
  ["  ", []],
])("names in %j", (text, names) => {
  expect(classesIn(text)).toEqual(names);
});

test("names that do not fit the folders are named", () => {
  expect(mismatch(["a", "b"], ["b", "a"])).toBeUndefined();
  expect(mismatch(["a", "b", "c"], ["b", "a"])).toBe("no images of c");
  expect(mismatch(["a", "b"], ["a", "c"])).toMatch(
    /^no such class: c; the names must be those of the folders/,
  );
  expect(labelsIn(["cat", "dog", "cow"], ["cow", "cat"])).toEqual([2, 0]);
  expect(() => labelsIn(["cat", "dog"], ["cow", "cat"])).toThrow(
    "the folder cow is no class of the model, which has cat, dog",
  );
});

test("names in the user's order follow the folders, other names stay", () => {
  expect(followed("b, a", ["a", "b"], ["a", "b", "c"])).toBe("b\na\nc");
  expect(followed("b, a", ["a", "b"], ["x", "y"])).toBe("x\ny");
  expect(followed("b, z", ["a", "b"], ["x", "y"])).toBe("b, z");
  expect(followed("b, a", undefined, ["x", "y"])).toBe("b, a");
});

test("labels become those of the model's classes", () => {
  const data = arrayDataset(Float32Array.of(1, 2, 3), Int32Array.of(0, 1, 1), [1]);
  const changed = relabelled(data, [4, 2], 5);
  const [x, y] = [new Float32Array(3), new Int32Array(3)];
  changed.fill([0, 1, 2], x, y);
  expect([[...x], [...y], changed.y.classes]).toEqual([[1, 2, 3], [4, 2, 2], 5]);
  const wide = new BigInt64Array(2);
  changed.labels?.fill([2, 0], wide);
  expect([...wide]).toEqual([2n, 4n]);
});

describe("images by class", () => {
  const file = (path: string) => ({ path, content: new Blob() });

  it("folders of several classes replace what is there, a folder of one class is added", () => {
    const images = new ImageCollection();
    expect(images.take([file("pets/train/cat/1.png"), file("pets/test/dog/2.png")])).toBe("replaced");
    expect(images.classes).toEqual(["cat", "dog"]);
    expect(images.source.images.map((image) => [image.class, image.held])).toEqual([
      ["dog", true],
      ["cat", false],
    ]);
    expect(images.source.name).toBe("pets");
    expect(images.take([file("cow/1.png"), file("cow/2.png")])).toBe("added");
    expect(images.take([file("cow/2.png")])).toBe("added");
    expect([images.classes, images.imagesOf("cow").length, images.source.name]).toEqual([
      ["cat", "cow", "dog"],
      2,
      "images",
    ]);
    expect(images.take([file("notes.txt")])).toBe("no images");
    expect(images.take([file("1.png")])).toBe("no classes");
    expect(images.take([file("a/1.png"), file("b/1.png")])).toBe("replaced");
    expect(images.classes).toEqual(["a", "b"]);
  });

  it("the camera adds pictures to classes of any name", () => {
    const images = new ImageCollection();
    expect([images.addClass("me"), images.addClass("me"), images.addClass("")]).toEqual([true, false, false]);
    images.addPicture("me", new Blob());
    images.addPicture("my cup", new Blob());
    expect(images.classes).toEqual(["me", "my cup"]);
    expect(images.source.images.map(({ path }) => path)).toEqual(["me/camera 1.jpg", "my cup/camera 2.jpg"]);
    images.removeClass("me");
    expect(images.classes).toEqual(["my cup"]);
  });
});

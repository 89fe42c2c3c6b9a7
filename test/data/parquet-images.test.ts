import { describe, expect, test } from "vitest";
import { type Dataset, loadData, readModel } from "../../src/index.ts";

const fixtures = "test/fixtures/data";
const model = await readModel(`${fixtures}/image.onnx`);
const species = Array.from({ length: 24 }, (_, i) => i % 3);

async function numbers(dataset: Dataset) {
  const x = new Float64Array(dataset.size * 144);
  const y = new Float64Array(dataset.size);
  await dataset.fill(Array.from(y.keys()), x, y);
  return { x: [...x], y: [...y] };
}

describe("images in Parquet", () => {
  test("structs of Hugging Face, and plain bytes with labels as texts, hold the same pixels", async () => {
    const [a, b] = await Promise.all(
      ["pictures", "pictures-plain"].map((name) => loadData(`${fixtures}/${name}.parquet`, { model })),
    );
    const [structs, plain] = [await numbers(a?.train as Dataset), await numbers(b?.train as Dataset)];
    expect(structs).toEqual(plain);
    expect(structs.y).toEqual(species);
    // The channel of a class is bright.
    for (const [row, label] of species.entries()) {
      const mean = (c: number) =>
        structs.x.slice(row * 144 + c * 48, row * 144 + (c + 1) * 48).reduce((p, q) => p + q) / 48;
      expect([0, 1, 2].map((c) => mean(c) > 120)).toEqual([0, 1, 2].map((c) => c === label));
    }
    for (const found of [a, b])
      expect(found?.conversion?.classes).toEqual(["setosa", "versicolor", "virginica"]);
    expect(b?.remarks).toEqual([
      `${fixtures}/pictures-plain.parquet: images from picture; labels from label; not fed: id`,
    ]);
    expect(a?.train.x).toEqual({ type: "integer", shape: [3, 6, 8] });
  });

  test("other files for a trained model get its classes and its size", async () => {
    const { conversion } = await loadData(`${fixtures}/pictures.parquet`, { model });
    const again = await loadData(`${fixtures}/pictures-plain.parquet`, {
      model,
      ...(conversion && { conversion }),
    });
    expect((await numbers(again.train)).y).toEqual(species);
    // Another file's rows follow.
    const two = [`${fixtures}/pictures.parquet`, `${fixtures}/pictures-missing.parquet`].join();
    const joined = await loadData(two, { model, missing: "drop" });
    expect([joined.train.size, joined.train.sampleRow?.(25)]).toEqual([26, 26]);
    expect((await numbers(joined.train)).x.slice(0, 24 * 144)).toEqual((await numbers(again.train)).x);
  });

  test("rows without a value are left out when that is asked for, and keep their numbers", async () => {
    const path = `${fixtures}/pictures-missing.parquet`;
    const { train, remarks } = await loadData(path, { model, missing: "drop" });
    expect([train.size, train.sampleRow?.(1)]).toEqual([2, 2]);
    expect(remarks?.at(-1)).toBe(`${path}: 1 rows lack a value and are left out`);
  });

  test.each([
    ["pictures-missing", {}, 'row 2 (index 1), column "image" has no value: use --missing drop'],
    [
      "pictures-elsewhere",
      {},
      'row 2 (index 1), column "image" holds the path "elsewhere/2.png" and no bytes',
    ],
    ["pictures-broken", {}, 'row 2 (index 1), column "image" holds no PNG, JPEG, WebP'],
    ["pictures", { label: "kind" }, 'there is no column "kind" (--label); it has image, label'],
    [
      "pictures",
      { standardize: true },
      '--standardize belongs to columns of numbers, and "image" holds images',
    ],
  ])("%s with %j is refused", async (name, options, says) => {
    await expect(loadData(`${fixtures}/${name}.parquet`, { model, ...options })).rejects.toThrow(says);
  });
});

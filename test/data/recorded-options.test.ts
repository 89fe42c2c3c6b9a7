import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { conversionRemark } from "../../src/cli/taught-data.ts";
import type { DataConversion } from "../../src/data/conversion.ts";
import { type DataOptions, loadData, readModel, withConversion } from "../../src/index.ts";

const fixtures = "test/fixtures/data";
const folder = mkdtempSync(join(tmpdir(), "sorth-recorded-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function written(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

async function recordOf(path: string, options: DataOptions = {}): Promise<DataConversion> {
  return (await loadData(path, options)).conversion as DataConversion;
}

describe("options beside the record of a trained model", () => {
  const plain = () => written("plain.csv", "a,b,y\n1,2,no\n3,4,yes\n");

  test.each([
    [{ columns: ["a"] }, "the model was trained on the columns a, b: leave --columns out, or train with it"],
    [{ standardize: true }, "on numbers as they are: leave --standardize out"],
    [{ missing: "zero" }, "on data without a number for missing values: leave --missing zero out"],
    [{ label: "income" }, 'there is no column "income" (--label)'],
  ] as const)("%j is refused: the record says otherwise", async (options, says) => {
    const conversion = await recordOf(plain());
    await expect(loadData(plain(), { conversion, ...options })).rejects.toThrow(says);
  });

  test("the flags of the training run itself are taken", async () => {
    const flags = { columns: ["b", "a"], standardize: true, missing: "mean" } as const;
    const conversion = await recordOf(plain(), flags);
    expect((await loadData(plain(), { conversion, ...flags })).train.size).toBe(2);
  });

  test("another column may hold the labels", async () => {
    const conversion = await recordOf(plain());
    const path = written("renamed.csv", "truth,y,b,a\nyes,no,2,1\nyes,no,4,3\n");
    const { train } = await loadData(path, { conversion, label: "truth" });
    const [x, y] = [new Float32Array(4), new Int32Array(2)];
    await train.fill([0, 1], x, y);
    expect([[...x], [...y]]).toEqual([
      [1, 2, 3, 4],
      [1, 1],
    ]);
  });

  test("texts may have another length, images another fit", async () => {
    const texts = { tokenizer: "test/fixtures/text/word-pieces", length: 8 };
    const story = "test/fixtures/text/story.txt";
    const conversion = await recordOf(story, texts);
    expect((await loadData(story, { conversion, length: 4 })).train.x.shape).toEqual([4]);
    const model = await readModel(`${fixtures}/image.onnx`);
    const first = async (options: DataOptions) => {
      const { train } = await loadData(`${fixtures}/pictures`, { model, ...options });
      const x = new Float32Array(3 * 6 * 8);
      await train.fill([0], x, new Int32Array(1));
      return x;
    };
    const images = await recordOf(`${fixtures}/pictures`, { model });
    const stretched = await first({ conversion: images, resize: "stretch" });
    expect(stretched).toEqual(await first({ resize: "stretch" }));
    expect(stretched).not.toEqual(await first({ conversion: images }));
  });
});

test("separators in quotes do not separate", async () => {
  const { table } = await recordOf(written("quoted.csv", '"a;b;c;d",e,y\n1,2,0\n3,4,1\n'));
  expect(table?.inputs[0]?.columns.map(({ name }) => name)).toEqual(["a;b;c;d", "e"]);
});

test("a new run says what it converts otherwise than the run that trained its model", async () => {
  const path = written("people.csv", "a,b,y\n1,2,no\n3,4,yes\n");
  const record = await recordOf(path, { standardize: true });
  const model = withConversion(await readModel(`${fixtures}/vector.onnx`), record);
  expect(conversionRemark(model, record)).toBe(undefined);
  expect(conversionRemark(model, { ...(await recordOf(path)), classes: ["yes", "no"] })).toBe(
    "this run converts data otherwise than the one that trained the model: columns a, b; classes, which were no, yes and are yes, no (--resume RUN --other-data goes on with the conversion of a run)",
  );
});

import { join } from "node:path";
import type { Rule, Sample } from "../../../src/autodiff/rule.ts";
import { rules } from "../../../src/autodiff/table.ts";
import type { Attribute } from "../../../src/graph/attribute.ts";
import { differentiate, readModel } from "../../../src/index.ts";
import { buildNode, bytesOf, random } from "../../../test/autodiff/rule-case.ts";
import type { Chance } from "../chance.ts";
import type { Family } from "../family.ts";

const differentiable = Object.entries(rules as Record<string, Rule>).filter(([, rule]) => "vjp" in rule);

/** Sizes of which a list of all elements still fits into memory, and those of which it does not. */
const sizes = [0, 1, 2, 127, 129, 1000, 65_535, 65_536, 1_000_000, 2 ** 31 - 1];

/** Some of the numbers made large, often all of them alike, so that the sizes that they give fit together. */
function changedNumbers(numbers: readonly number[], chance: Chance): number[] {
  const [size, all] = [chance.pick(sizes), chance.once(2)];
  return numbers.map((number) => (all || chance.once(2) ? size - chance.below(2) : number));
}

function changedAttribute(attribute: Attribute, chance: Chance): Attribute {
  if (attribute.kind === "int") return { ...attribute, value: chance.pick(sizes) };
  return attribute.kind === "ints"
    ? { ...attribute, value: changedNumbers(attribute.value, chance) }
    : attribute;
}

/** One operator with small inputs, and numbers among its sizes, attributes and constants that nobody expects. */
function changedSample(sample: Sample, chance: Chance): Sample {
  const attributes = Object.entries(sample.attributes ?? {}).map(([name, attribute]) => [
    name,
    chance.once(3) ? changedAttribute(attribute, chance) : attribute,
  ]);
  const inputs = sample.inputs.map((input) =>
    input && "constant" in input && (input.type ?? "int64") === "int64" && chance.once(3)
      ? { ...input, constant: changedNumbers(Array.from(input.constant), chance) }
      : input,
  );
  return { ...sample, attributes: Object.fromEntries(attributes), inputs };
}

/** Single operators whose sizes are damaged: what a derivative stores must not grow with sizes that a few bytes state. */
export const operators: Family = {
  name: "operators",
  weight: 2,
  async files(chance) {
    const [op, rule] = chance.pick(differentiable);
    const sample = changedSample(chance.pick((rule as { samples: readonly Sample[] }).samples), chance);
    const { graph, wrt } = buildNode({ op, sample, type: "float" }, random(7));
    for (const value of wrt) if (chance.once(3)) value.shape = changedNumbers(value.shape ?? [], chance);
    return new Map([["model.onnx", bytesOf(graph)]]);
  },
  entries: {
    grad: async (folder) =>
      differentiate(await readModel(join(folder, "model.onnx")), {
        vjp: true,
        wrtInputs: /./,
        onMessage: () => {},
      }),
  },
};

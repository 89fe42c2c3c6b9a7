import type { RuleEntry } from "../src/autodiff/rule.ts";
import { rules } from "../src/autodiff/table.ts";
import { writtenOut } from "../src/passes/backends/missing/table.ts";
import { type OffDevice, offCuda, offWebGpu, onCpu } from "../src/passes/backends/off-device.ts";

const stateOf = (entry: RuleEntry): string => {
  if ("vjp" in entry) return "rule";
  return "constant" in entry ? `zero: ${entry.constant}` : `refused: ${entry.refused}`;
};

const opsetsOf = (entry: RuleEntry): string =>
  "vjp" in entry
    ? [...new Set(entry.samples.map(({ opset }) => opset ?? 18))].sort((a, b) => a - b).join(", ")
    : "";

/** The parts of an operator and its gradient that are known not to run on a device, or not as they are. */
function offDevice(op: string, gradient: ReadonlySet<string> | undefined, off: OffDevice): string {
  const forward = off[op] ? [writtenOut[op] ? off[op].replace(onCpu, "written out") : off[op]] : [];
  const backward = [...(gradient ?? [])]
    .filter((name) => name !== op && off[name] && !writtenOut[name])
    .sort();
  return [...forward, ...backward.map((name) => `gradient: ${name} ${off[name]}`)].join("; ");
}

/**
 * The content of `docs/ops.md`: the table of operators in Markdown.
 * @param gradients - for each rule the operators that occur in its samples' gradients
 */
export function opsTable(gradients: ReadonlyMap<string, ReadonlySet<string>>): string {
  const all = Object.entries(rules).sort(([a], [b]) => a.localeCompare(b));
  const rows = all.filter(([, entry]) => "vjp" in entry);
  const others = all.filter(([, entry]) => !("vjp" in entry));
  const without = others.filter(([, entry]) => !("writtenOut" in entry));
  const refused = without.filter(([, entry]) => "refused" in entry).length;
  const parts = [...new Set([...gradients.values()].flatMap((names) => [...names]))].sort();
  return [
    "# Operators",
    "",
    "Generated from the table of derivatives (`npm run docs:ops`); a test holds it against the code.",
    "If a gradient would have to pass through an operator that is missing here, it is refused by name before anything is written.",
    "Older models are first converted to opset 18; newer ones stay unchanged, but on a GPU, where they run in opset 21. Names outside the standard domain begin with their domain.",
    "",
    `${rows.length} operators have a derivative, ${without.length - refused} have a zero gradient, ${refused} are refused with a reason.`,
    "",
    "## With a derivative",
    "",
    "Cases: the number of sample cases that the tests compare with finite differences, both for the gradient and for the gradient's gradient.",
    "Every rule is tested on the CPU and, except for ai.onnx.ml, in browsers on wasm. The last columns list what is known not to run on a GPU",
    "(WebGPU: measured on ONNX Runtime 1.30; CUDA: read from its source); an empty cell means that no such operator is known. What is written out",
    "runs there in other operators: training replaces it.",
    "",
    "| operator | cases | in opset | WebGPU | CUDA |",
    "|---|---|---|---|---|",
    ...rows.map(([name, entry]) => {
      const gradient = gradients.get(name);
      const cases = "vjp" in entry ? entry.samples.length : 0;
      return `| ${name} | ${cases} | ${opsetsOf(entry)} | ${offDevice(name, gradient, offWebGpu)} | ${offDevice(name, gradient, offCuda)} |`;
    }),
    "",
    `Gradients consist of ${parts.length} operators: ${parts.join(", ")}.`,
    "",
    "## Written out",
    "",
    "These are replaced by operators of the first table before gradients are made; in another form they are refused with the reason.",
    "",
    "| operator | form |",
    "|---|---|",
    ...others.flatMap(([name, entry]) =>
      "writtenOut" in entry ? [`| ${name} | ${entry.writtenOut} |`] : [],
    ),
    "| If, Loop, Scan, Sequence… | the branch, the number of trips or the position does not depend on data |",
    "",
    "## Without a derivative",
    "",
    "| operator | gradient |",
    "|---|---|",
    ...without.map(([name, entry]) => `| ${name} | ${stateOf(entry)} |`),
    "",
  ].join("\n");
}

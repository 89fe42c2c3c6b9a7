import type { RuleEntry } from "../src/autodiff/rule.ts";
import { rules } from "../src/autodiff/table.ts";
import { type OffDevice, offCuda, offWebGpu } from "../src/passes/backends/off-device.ts";

const stateOf = (entry: RuleEntry): string => {
  if ("vjp" in entry) return "rule";
  return "constant" in entry ? `zero: ${entry.constant}` : `refused: ${entry.refused}`;
};

const opsetsOf = (entry: RuleEntry): string =>
  "vjp" in entry
    ? [...new Set(entry.samples.map(({ opset }) => opset ?? 18))].sort((a, b) => a - b).join(", ")
    : "";

/** What of an operator and its gradient is known not to run on a device. */
function offDevice(op: string, gradient: ReadonlySet<string> | undefined, off: OffDevice): string {
  const forward = off[op] ? [off[op]] : [];
  const backward = [...(gradient ?? [])].filter((name) => name !== op && off[name]).sort();
  return [...forward, ...backward.map((name) => `gradient: ${name} ${off[name]}`)].join("; ");
}

/**
 * The support table in Markdown: what `docs/ops.md` holds.
 * @param gradients - for each rule the operators of which its samples' gradients are made
 */
export function opsTable(gradients: ReadonlyMap<string, ReadonlySet<string>>): string {
  const all = Object.entries(rules).sort(([a], [b]) => a.localeCompare(b));
  const rows = all.filter(([, entry]) => "vjp" in entry);
  const others = all.filter(([, entry]) => !("vjp" in entry));
  const refused = others.filter(([, entry]) => "refused" in entry).length;
  const parts = [...new Set([...gradients.values()].flatMap((names) => [...names]))].sort();
  return [
    "# Operators",
    "",
    "Generated from the table of derivatives (`npm run docs:ops`); a test holds it against the code.",
    "An operator that is missing here is refused by name when a gradient has to pass through it, before anything is written.",
    "Models are brought to opset 18 first; newer ones stay as they are. Other domains stand in front of the name.",
    "",
    `${rows.length} operators have a derivative, ${others.length - refused} pass no gradient on, ${refused} are refused with a reason.`,
    "",
    "## With a derivative",
    "",
    "Cases: how many the tests compare with finite differences, once for the gradient and once for the gradient's gradient.",
    "Every rule runs on the CPU and, ai.onnx.ml aside, in browsers on wasm, where it is tested. The last columns say what is known not to run on a GPU itself",
    "(WebGPU: measured on ONNX Runtime 1.30; CUDA: read from its source); they are empty where nothing is known against it.",
    "",
    "| operator | cases | in opset | WebGPU | CUDA |",
    "|---|---|---|---|---|",
    ...rows.map(([name, entry]) => {
      const gradient = gradients.get(name);
      const cases = "vjp" in entry ? entry.samples.length : 0;
      return `| ${name} | ${cases} | ${opsetsOf(entry)} | ${offDevice(name, gradient, offWebGpu)} | ${offDevice(name, gradient, offCuda)} |`;
    }),
    "",
    `Gradients are made of ${parts.length} operators: ${parts.join(", ")}.`,
    "",
    "## Without",
    "",
    "| operator | gradient |",
    "|---|---|",
    ...others.map(([name, entry]) => `| ${name} | ${stateOf(entry)} |`),
    "",
  ].join("\n");
}

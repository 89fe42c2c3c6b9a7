import type { Site } from "../analysis/site-types.ts";
import { SorthError } from "../errors.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import type { TrainingModel } from "./training-model.ts";

/**
 * The complete gradient of a layer's response in a training model; undefined if none is computed because nothing before
 * the layer is trained. It is found by its name (`<response>_grad`, never one of the parts that are summed into it); the
 * layer's backward nodes must read the same value.
 * @param site - a layer of the forward part, with the names of the training model
 * @throws SorthError when name and structure contradict each other
 */
export function fullGradientOf(training: TrainingModel, site: Site): Value | undefined {
  const { graph } = training;
  const response = graph.valueNamed(site.response.name);
  const named = training.gradientOf(response);
  const node = response.producer;
  if (!named) checkUntrained(training, site, response);
  if (!node || node.label !== site.name) return named;
  const all = gradientsReadBy(training, node);
  if (all.length === 0 || (named && all.includes(named))) return named;
  const others = new Set(
    training.forward.flatMap(({ outputs }) =>
      outputs.flatMap((output) => (output && output !== response ? (training.gradientOf(output) ?? []) : [])),
    ),
  );
  const read = all.filter((value) => !others.has(value));
  if (read.length === 0) return named;
  const found = read.map(({ name }) => `"${name}"`).join(", ");
  throw new SorthError(
    `the gradient of layer "${site.name}" is ambiguous: by its name it would be "${response.name}_grad"${named ? "" : " (which nothing computes)"}, but the layer's backward nodes read ${found}; exclude the layer (--exclude), or generate the artifacts again`,
  );
}

/** @throws SorthError when a trained parameter lies before a response whose gradient was not found */
function checkUntrained({ parameters }: TrainingModel, site: Site, response: Value): void {
  const trained = new Set(parameters.map(({ value }) => value));
  const read = [...ancestorsOf([response])].flatMap(({ inputs, captures }) => [...inputs, ...captures]);
  const found = read.find((value) => value && trained.has(value));
  if (!found) return;
  throw new SorthError(
    `no value "${response.name}_grad" holds the gradient of layer "${site.name}", although "${found.name}" before it is trained; exclude the layer (--exclude), or generate the artifacts again`,
  );
}

/** The values that the backward nodes of a layer read as its response's gradient. */
function gradientsReadBy({ forward }: TrainingModel, layer: Node): Value[] {
  const own = new Set(forward);
  const [x, weight] = layer.inputs;
  const found = new Set<Value>();
  for (const operand of [x, weight]) {
    for (const { node, index } of operand?.uses ?? []) {
      if (own.has(node)) continue;
      if (node.op === "com.microsoft.ConvGrad" && node.inputs[1] === x && node.inputs[2] === weight) {
        if (node.inputs[0]) found.add(node.inputs[0]);
      }
      const product = node.opType === "Gemm" || node.opType === "MatMul" || node.opType === "FusedMatMul";
      const other = product && index < 2 ? node.inputs[1 - index] : undefined;
      // Ignore values that a tool derived from the gradient (a transposed copy).
      if (layer.opType === "Gemm" && other?.name.endsWith("_grad")) found.add(other);
    }
  }
  return [...found];
}

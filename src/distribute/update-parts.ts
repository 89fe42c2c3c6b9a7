import { graphOf, modelOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { ParameterPort } from "../programs/step-ports.ts";

/** The update of some parameters. */
interface UpdatePart {
  readonly file: string;
  readonly parameters: readonly string[];
  readonly model: Model;
}

/**
 * Cuts an update into parts of about equal size: each computes the next numbers of its parameters and of their slots, and reads no
 * slots of the others. Gradients of others stay inputs where the optimizer looks at all of them, as clipping by the global norm does.
 * Counters that belong to no parameter are computed by every part, also by one without parameters, where there are more parts than these.
 *
 * @returns none for an optimizer that reads the slots of all parameters together, as clipping after accumulation does
 */
export function updateParts(
  update: Model,
  parameters: readonly ParameterPort[],
  parts: number,
): UpdatePart[] {
  if (parts < 2) return [];
  const bins = Array.from({ length: parts }, () => ({ size: 0, names: new Set<string>() }));
  const largestFirst = [...parameters].sort((a, b) => elementCount(b.shape) - elementCount(a.shape));
  for (const { name, shape } of largestFirst) {
    const least = bins.reduce((one, other) => (other.size < one.size ? other : one));
    least.size += elementCount(shape);
    least.names.add(name);
  }
  const made = bins.map(({ names }, i) => {
    const others = parameters.filter(({ name }) => !names.has(name));
    const left = new Set(
      others.flatMap((port) => [port.output, ...[...port.slots.values()].map(({ output }) => output)]),
    );
    return {
      file: `update.${i}.onnx`,
      parameters: parameters.flatMap(({ name }) => (names.has(name) ? [name] : [])),
      model: withoutOutputs(update, left),
    };
  });
  const readsOthers = ({ parameters: own, model }: UpdatePart): boolean => {
    const slots = parameters.flatMap((port) => (own.includes(port.name) ? [] : [...port.slots.values()]));
    const inputs = new Set((model.proto.graph?.input ?? []).map(({ name }) => name));
    return slots.some(({ input }) => inputs.has(input));
  };
  const computing = made.filter(({ model }) => (model.proto.graph?.output ?? []).length > 0);
  return computing.some(readsOthers) ? [] : computing;
}

/** A graph without some outputs, and without what only they need. */
function withoutOutputs(model: Model, left: ReadonlySet<string>): Model {
  const graph = graphOf(model);
  graph.outputs.splice(0, graph.outputs.length, ...graph.outputs.filter(({ name }) => !left.has(name)));
  graph.pruneInputs((input) => graph.outputs.includes(input));
  return modelOf(graph, model, { irVersion: Number(model.proto.irVersion) });
}

import { stepPrefix } from "../analysis/block-nodes.ts";
import { checkFields } from "../check-arguments.ts";
import { bodyFromGraph } from "../graph/body-graph.ts";
import { Emit } from "../graph/emit.ts";
import { typed } from "../graph/emit-base.ts";
import { Graph } from "../graph/graph.ts";
import { modelOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { knowsFiles } from "../onnx/model.ts";
import { inputName } from "./ports.ts";
import { type Step, takeGraph } from "./step.ts";
import { figureOutputs, portsKey, portsToText, type StepPorts, statePorts } from "./step-ports.ts";

/** Name of the free axis over the steps of a run. */
const stepsAxis = "steps";
/** Prefix of every value inside the loop, because a body must not compute a name of the graph around it. */
const inner = `${stepPrefix}loop/`;

/**
 * A step as the body of an ONNX Loop: one run does as many steps as its input `steps` (int64, a scalar) says, with the same
 * numbers as separate runs of the step. Data, labels, masks, scalars and random numbers of each step get a leading axis over
 * the steps (`learning_rate`: [steps]), and so do the outputs `loss` and `penalty`; the state is read and returned once per
 * run. For backends that copy the state in and out at every run: CUDA in node (DESIGN §5.8), WebAssembly.
 *
 * @returns the step in Loop form; the shapes of its ports are still those of one step
 * @example
 * const step = stepLoop(await buildStep(model, options));
 * session.run({ steps: BigInt64Array.of(8n), input: x, labels, learning_rate: rates, … }); // x: [8, batch, …]
 */
export function stepLoop(step: Step): Step {
  checkFields("a step is what buildStep gives", step, "ports", "model");
  const { ports } = step;
  const body = takeGraph(step);
  const named = (names: readonly string[]) => names.map((name) => body.valueNamed(name));
  const state = statePorts(ports);
  const stateInputs = named(state.map(({ input }) => input));
  const results = named([...state.map(({ output }) => output), ...figureOutputs(ports)]);
  const fed = body.inputs.filter((input) => !stateInputs.includes(input));
  const ofEpoch = new Set(ports.draws.flatMap(({ name, anew }) => (anew === "epoch" ? [name] : [])));

  const outer = new Graph("steps", body.opsets);
  const count = outer.addInput(inputName(body, "steps"), "int64", []);
  const outerFed = fed.map(({ name, type, shape }) =>
    ofEpoch.has(name)
      ? outer.addInput(name, type, shape)
      : outer.addInput(name, type, undefined, [stepsAxis, ...(shape ?? [])]),
  );
  const outerState = stateInputs.map(({ name, type, shape }) => outer.addInput(name, type, shape));
  const outputs = results.map(({ name }) => name);

  for (const value of [...body.values]) body.rename(value, inner + value.name);
  const emit = new Emit(body, { prefix: inner });
  const iteration = body.addInput(`${inner}iteration`, "int64", []);
  const condition = typed(body.addInput(`${inner}condition`, "bool", []));
  const captured = outerFed.map(({ name, type, shape, declared }, i) => {
    const input = typed(fed[i] as Value);
    const all = body.addInput(name, type, shape, declared);
    const own = ofEpoch.has(name)
      ? all
      : emit.op("Gather", [all, iteration], input.shape, { type: input.type });
    body.replaceUses(input, own, { outputs: true });
    body.removeInput(input);
    return all;
  });
  body.inputs.splice(0, body.inputs.length, iteration, condition, ...stateInputs, ...captured);
  body.outputs.splice(0, body.outputs.length, emit.identity(condition), ...results);
  body.metadata.clear();

  const captures = new Set(captured.map(({ name }) => name));
  const value = bodyFromGraph(body, captures, knowsFiles(step.model));
  // A step is never differentiated, so shapes inside would only lengthen the file.
  value.valueInfo = [];
  const loop = outer.addNode({
    ...{ opType: "Loop", name: "steps", inputs: [count, null, ...outerState], outputs, captures: outerFed },
    attributes: new Map([["body", { kind: "graph", value } as const]]),
  });
  loop.outputs.forEach((output, i) => {
    const { type, shape, declared } = results[i] as Value;
    if (!output) return;
    output.type = type;
    output.declared = i < state.length ? (shape ?? declared) : [stepsAxis];
    outer.addOutput(output);
  });
  const looped: StepPorts = { ...ports, count: count.name };
  outer.metadata.set(portsKey, portsToText(looped));
  return { ...step, model: modelOf(outer, step.model), body: step.model, ports: looped };
}

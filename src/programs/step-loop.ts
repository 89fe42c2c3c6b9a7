import { stepPrefix } from "../analysis/block-nodes.ts";
import { bodyFromGraph } from "../graph/body-graph.ts";
import { Graph } from "../graph/graph.ts";
import { modelOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { inputName } from "./ports.ts";
import { type Step, takeGraph } from "./step.ts";
import { figureOutputs, portsKey, portsToText, type StepPorts, statePorts } from "./step-ports.ts";

/** Name of the free axis over the steps of a run. */
const stepsAxis = "steps";
/** Prefix of every value inside the loop: a body must not compute a name of the graph around it. */
const inner = `${stepPrefix}loop/`;

/**
 * A step as the body of an ONNX Loop: one run does as many steps as its input `steps` (int64, a scalar) says, with the same
 * numbers as so many runs of the step. Data, labels, masks, scalars and what is drawn at each step get a leading axis over the
 * steps (`learning_rate`: [steps]), and so do the outputs `loss` and `penalty`; the state is read and returned once a run. For
 * backends that copy the state in and out at every run: CUDA in node (DESIGN §5.8), WebAssembly.
 *
 * @returns the step in Loop form; the shapes of its ports are still those of one step
 * @example
 * const step = stepLoop(await buildStep(model, options));
 * session.run({ steps: BigInt64Array.of(8n), input: x, labels, learning_rate: rates, … }); // x: [8, batch, …]
 */
export function stepLoop(step: Step): Step {
  const body = takeGraph(step);
  const state = statePorts(step.ports);
  const stateInputs = state.map(({ input }) => body.valueNamed(input));
  const stateOutputs = state.map(({ output }) => body.valueNamed(output));
  const figures = figureOutputs(step.ports).map((name) => body.valueNamed(name));
  const ofEpoch = new Set(step.ports.draws.flatMap(({ name, anew }) => (anew === "epoch" ? [name] : [])));
  const fed = body.inputs.filter((input) => !stateInputs.includes(input));

  const outer = new Graph("steps", body.opsets);
  const count = inputName(body, "steps");
  const outerCount = outer.addInput(count, "int64", []);
  const outerFed = fed.map((input) =>
    ofEpoch.has(input.name)
      ? outer.addInput(input.name, input.type, input.shape)
      : outer.addInput(input.name, input.type, undefined, [stepsAxis, ...(input.shape ?? [])]),
  );
  const outerState = stateInputs.map((input) => outer.addInput(input.name, input.type, input.shape));
  const outputsOf = (values: readonly Value[]) => values.map(({ name }) => name);
  const outputNames = [...outputsOf(stateOutputs), ...outputsOf(figures)];

  for (const value of [...body.values]) body.rename(value, inner + value.name);
  const iteration = body.addInput(`${inner}iteration`, "int64", []);
  const condition = body.addInput(`${inner}condition`, "bool", []);
  const captured = fed.map((input, i) => {
    const from = outerFed[i] as Value;
    return ofEpoch.has(from.name)
      ? captureWhole(body, input, from)
      : gatherStep(body, input, from, iteration);
  });
  body.inputs.splice(0, body.inputs.length, iteration, condition, ...stateInputs, ...captured);
  const goOn = added(body, "Identity", [condition], `${inner}go_on`, condition);
  body.outputs.splice(0, body.outputs.length, goOn, ...stateOutputs, ...figures);
  body.metadata.clear();

  const loop = outer.addNode({
    opType: "Loop",
    name: "steps",
    inputs: [outerCount, null, ...outerState],
    outputs: outputNames,
    captures: outerFed,
    attributes: new Map([
      [
        "body",
        {
          kind: "graph",
          value: bodyFromGraph(
            body,
            new Set(captured.map(({ name }) => name)),
            step.model.path !== undefined,
          ),
        } as const,
      ],
    ]),
  });
  loop.outputs.forEach((value, i) => {
    const source = [...stateOutputs, ...figures][i];
    if (!value || !source) return;
    value.type = source.type;
    if (i < state.length) value.shape = source.shape;
    else value.declared = [stepsAxis];
    outer.addOutput(value);
  });
  const ports: StepPorts = { ...step.ports, count };
  outer.metadata.set(portsKey, portsToText(ports));
  return { ...step, model: modelOf(outer, step.model), body: step.model, ports };
}

/** Lets the readers of an input read its row of this iteration instead. @returns what the body captures */
function gatherStep(body: Graph, input: Value, outer: Value, iteration: Value): Value {
  const stacked = body.addInput(outer.name, input.type, undefined, outer.declared ?? []);
  const row = added(body, "Gather", [stacked, iteration], `${input.name}/row`, input);
  body.replaceUses(input, row, { outputs: true });
  body.removeInput(input);
  return stacked;
}

/** Lets the readers of an input read the same of every iteration. @returns what the body captures */
function captureWhole(body: Graph, input: Value, outer: Value): Value {
  const whole = body.addInput(outer.name, input.type, input.shape);
  body.replaceUses(input, whole, { outputs: true });
  body.removeInput(input);
  return whole;
}

/** Adds a node whose output is like another value. */
function added(graph: Graph, opType: string, inputs: readonly Value[], name: string, like: Value): Value {
  const [output] = graph.addNode({ opType, name, inputs, outputs: [name] }).outputs as [Value];
  output.type = like.type;
  output.shape = like.shape;
  return output;
}

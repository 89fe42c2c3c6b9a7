import { SorthError } from "../errors.ts";
import { capturedNames } from "../graph/bodies.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { Value } from "../graph/node.ts";
import { nodeToProto, valueInfo } from "../graph/proto.ts";
import { descendantsOf } from "../graph/reach.ts";
import { onnx } from "../onnx/schema.js";
import { elementCount } from "../onnx/tensor.ts";
import type { Named } from "./jacobian-products.ts";
import type { Program } from "./program.ts";

/** Most numbers that the Jacobians of one graph may have together: half a gigabyte of float32. */
const mostNumbers = 2 ** 27;

/**
 * Adds the Jacobians of one value with respect to variables: a Loop over the numbers of the value, whose trip i is the
 * vector-Jacobian product of the i-th unit vector. What does not depend on that vector stays outside of the Loop, so the
 * forward pass runs once.
 * @returns by variable, ∂y/∂x: [...y.shape, ...x.shape], as torch.func.jacrev returns it
 * @throws SorthError when they have more than 2^27 numbers
 */
export async function addJacobians(
  program: Program,
  { name, value: output }: Named,
  variables: readonly Named[],
): Promise<Map<Value, Typed>> {
  const { graph, emit } = program;
  const rows = elementCount(output.shape);
  const numbers = rows * variables.reduce((sum, { value }) => sum + elementCount(value.shape), 0);
  if (numbers > mostNumbers) {
    throw new SorthError(
      `the Jacobian of "${name}" (${rows} numbers) would have ${numbers} numbers, above the limit of ${mostNumbers}: choose fewer variables (--wrt), a smaller batch or output (--of), or products (--vjp, --jvp)`,
    );
  }
  const trip = graph.addInput(graph.freshName("step/row"), "int64", []);
  const places = emit.int64s(Array.from({ length: rows }, (_, i) => i));
  const unit = emit.op("Equal", [places, trip], [rows], { type: "bool" });
  const seed = emit.reshape(emit.cast(unit, output.type), output.shape);
  const wrt = variables.map(({ value }) => value);
  const gradients = await program.gradients({ seeds: [{ name, value: output, gradient: () => seed }] }, wrt);
  // One output for each, also where two variables share a gradient.
  const results = [...gradients].map(([variable, gradient]) => ({ variable, row: emit.identity(gradient) }));
  const stacked =
    results.length > 0
      ? overRows(
          graph,
          trip,
          [emit.scalar(rows, "int64"), emit.constant("bool", [], Uint8Array.of(1))],
          results.map(({ row }) => row),
        )
      : [];
  graph.removeInput(trip);
  const found = new Map(
    results.map(({ variable, row }, i) => {
      const rowsOf = stacked[i] as Value;
      rowsOf.type = row.type;
      rowsOf.shape = [rows, ...row.shape];
      return [variable, emit.reshape(rowsOf as Typed, [...output.shape, ...row.shape])] as const;
    }),
  );
  return new Map(
    variables.map(({ value }) => {
      const zeros = () => emit.filled(0, [...output.shape, ...typed(value).shape], value.type);
      return [value, found.get(value) ?? zeros()] as const;
    }),
  );
}

/** Moves every node that depends on the number of the row into the body of a Loop. @returns the rows, stacked */
function overRows(graph: Graph, trip: Value, control: readonly Value[], results: readonly Typed[]): Value[] {
  const moved = descendantsOf([trip]);
  const nodes = graph.sorted().filter(({ outputs }) => outputs.some((output) => output && moved.has(output)));
  const [going, on] = ["going", "on"].map((name) => graph.freshName(`step/${name}`));
  const body = new onnx.GraphProto({
    name: "row",
    node: [
      new onnx.NodeProto({ opType: "Identity", input: [going as string], output: [on as string] }),
      ...nodes.map(nodeToProto),
    ],
    input: [valueInfo(trip), valueInfo(new Value(going as string, "bool", []))],
    output: [valueInfo(new Value(on as string, "bool", [])), ...results.map(valueInfo)],
  });
  const captures = [...capturedNames(body)].map((name) => graph.valueNamed(name));
  graph.removeNodes(new Set(nodes));
  const loop = graph.addNode({
    ...{ opType: "Loop", name: graph.freshName("step/rows"), captures },
    inputs: control,
    outputs: results.map(({ name }) => graph.freshName(`${name}/rows`)),
    attributes: new Map([["body", { kind: "graph", value: body } as const]]),
  });
  return loop.outputs.flatMap((output) => output ?? []);
}

import { Emit } from "../graph/emit.ts";
import { Graph } from "../graph/graph.ts";
import { modelOf } from "../graph/model-graph.ts";
import { Model } from "../onnx/model.ts";
import type { onnx } from "../onnx/schema.js";
import { ortNode } from "./ort-node.ts";
import { ortMessage } from "./ort-probe.ts";

/**
 * onnxruntime-node writes preallocated outputs and then copies every output into fresh memory for its result, that of a
 * whole training state at each step. It converts outputs in order and refuses an output that is no tensor: a first output
 * that is an empty sequence ends the conversion after everything has been computed and before anything is copied.
 */
const left = "sorth_outputs_left";

/** How a run of a model with {@link leavingOutputs} ends. */
export interface Uncopied {
  /** The output that ends the conversion. */
  readonly output: string;
  /** The message of the error by which the binding says so. */
  readonly message: string;
}

/** The model with one more output in front of its own. */
export function leavingOutputs(model: Model): Model {
  const graph: onnx.GraphProto.$Properties = model.proto.graph ?? {};
  const sequence = { sequenceType: { elemType: { tensorType: { elemType: 1 } } } };
  return Model.fromProto(
    {
      ...model.proto,
      graph: {
        ...graph,
        node: [{ opType: "SequenceEmpty", output: [left] }, ...(graph.node ?? [])],
        output: [{ name: left, type: sequence }, ...(graph.output ?? [])],
      },
    } as onnx.ModelProto,
    model,
  );
}

/**
 * Tries this on a model of one node, once per process. The error must have a message: by it, other errors are told apart.
 * @returns undefined if the installed onnxruntime-node behaves in another way: then outputs are copied
 */
export const uncopied = (): Promise<Uncopied | undefined> => {
  tried ??= tryOut();
  return tried;
};

let tried: Promise<Uncopied | undefined> | undefined;

async function tryOut(): Promise<Uncopied | undefined> {
  const graph = new Graph("uncopied", new Map([["", 18]]));
  const y = graph.addOutput(new Emit(graph, { prefix: "" }).neg(graph.addInput("x", "float", [1])));
  const { InferenceSession, Tensor } = await ortNode();
  const [read, written] = [Float32Array.of(1), Float32Array.of(0)];
  let message: string | undefined;
  try {
    const model = leavingOutputs(modelOf(graph, {}));
    const session = await InferenceSession.create(model.bytes, { logSeverityLevel: 4 });
    const feeds = { x: new Tensor("float32", read, [1]) };
    const fetches = { [left]: null, [y.name]: new Tensor("float32", written, [1]) };
    await session.run(feeds, fetches).catch((error: unknown) => {
      message = ortMessage(error);
    });
    await session.release();
  } catch {
    return undefined;
  }
  return message && written[0] === -1 ? { output: left, message } : undefined;
}

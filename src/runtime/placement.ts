import type { InferenceSession } from "onnxruntime-common";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { DeviceError, SorthError } from "../errors.ts";
import { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import type { Model } from "../onnx/model.ts";
import {
  type OpenSession,
  ortMessage,
  type SessionEntries,
  type SessionFiles,
  sessionEntries,
  sessionForm,
} from "./ort-probe.ts";
import { profiling } from "./ort-session.ts";
import type { StepSessionOptions } from "./step-session.ts";

/** What {@link openOnDevice} needs to open a session on a device. */
export interface OpenOnDevice {
  readonly create: OpenSession;
  readonly executionProvider: string;
  /** Infers shapes, on the CPU. */
  readonly probe: Probe;
  /** Where sessions read files. */
  readonly files?: SessionFiles;
}

/** ONNX Runtime's error when fallback is forbidden and some nodes would run on the CPU. */
const fallbackForbidden = /fallback to CPU EP has been explicitly disabled/i;

/** Most nodes that a message lists. */
const mostNamed = 6;

/**
 * Opens a graph that runs on a device as a whole. Without this check, ONNX Runtime silently runs on the CPU what the device
 * lacks.
 * @throws SorthError that names the nodes the device does not run; with `allowFallback`, `onMessage` receives them instead
 */
export async function openOnDevice(
  model: Model,
  on: OpenOnDevice,
  options: StepSessionOptions & {
    readonly device: string;
    readonly session?: InferenceSession.SessionOptions;
  },
): Promise<InferenceSession> {
  const { device, allowFallback, onMessage } = options;
  const { model: whole, entries, options: files } = await sessionForm(model, on.files);
  const session = { ...options.session, ...profiling(options), ...files };
  try {
    return await openWhole(whole.bytes, on, session, entries);
  } catch (error) {
    if (error instanceof SorthError) throw error;
    if (!fallbackForbidden.test(ortMessage(error))) {
      throw new DeviceError(`ONNX Runtime cannot open the graph on ${device}: ${ortMessage(error)}`);
    }
  }
  const nodes = await nodesOffDevice(whole, on);
  const named = nodes.slice(0, mostNamed).map(({ op, label }) => `${op} "${label}"`);
  const more = nodes.length > mostNamed ? ` and ${nodes.length - mostNamed} more` : "";
  const list =
    named.length > 0
      ? `${nodes.length} nodes: ${named.join(", ")}${more}`
      : "what ONNX Runtime adds to the graph";
  if (!allowFallback) {
    throw new DeviceError(
      `${device} does not run ${list}; --allow-fallback (allowFallback: true) runs them on the CPU, which costs copies at every step`,
    );
  }
  onMessage?.(`not on ${device} but on the CPU: ${list}`);
  return on.create(whole.bytes, { ...base(on), ...session, extra: sessionEntries(entries) });
}

const base = ({ executionProvider }: OpenOnDevice): InferenceSession.SessionOptions => ({
  executionProviders: [executionProvider],
  logSeverityLevel: 4,
});

function openWhole(
  model: Uint8Array,
  on: OpenOnDevice,
  session: InferenceSession.SessionOptions = {},
  entries: SessionEntries = {},
): Promise<InferenceSession> {
  return on.create(model, {
    ...base(on),
    ...session,
    extra: sessionEntries({ ...entries, disable_cpu_ep_fallback: "1" }),
  });
}

/**
 * The nodes that a device does not run. Opens each kind of node (operator, attributes, shapes) alone, with fallback
 * forbidden. Nodes of constants are left out, because ONNX Runtime folds them.
 */
async function nodesOffDevice(model: Model, on: OpenOnDevice): Promise<Node[]> {
  const graph = graphOf(model);
  await inferShapes(graph, on.probe);
  const runs = new Map<string, boolean>();
  const found: Node[] = [];
  for (const node of graph.nodes) {
    const alone = nodeAlone(graph, node);
    if (!alone) continue;
    const kind = new TextDecoder("latin1").decode(alone);
    if (!runs.has(kind)) runs.set(kind, await opens(alone, on));
    if (!runs.get(kind)) found.push(node);
  }
  return found;
}

/** A model of one node whose inputs are graph inputs, except for constants; undefined for a node of constants or of unknown types. */
function nodeAlone({ opsets }: Graph, node: Node): Uint8Array | undefined {
  const graph = new Graph("node", new Map(opsets));
  let fed = false;
  let known = true;
  const input = (value: Value, name: string): Value => {
    const constant = constantTensor(value);
    if (constant) return graph.addInitializer(constant.named(name));
    fed = true;
    known &&= value.type !== undefined && value.shape !== undefined;
    return graph.addInput(name, value.type ?? "float", value.shape ?? []);
  };
  const inputs = node.inputs.map((value, i) => value && input(value, `in${i}`));
  for (const value of node.captures) if (!graph.value(value.name)) input(value, value.name);
  if (!fed || !known) return undefined;
  const { opType, domain, attributes } = node;
  const alone = graph.addNode({
    ...{ opType, domain, attributes, inputs, name: "node" },
    outputs: node.outputs.map((value, i) => value && `out${i}`),
  });
  node.outputs.forEach((value, i) => {
    const output = alone.outputs[i];
    if (!value || !output) return;
    output.type = value.type;
    output.shape = value.shape;
    graph.addOutput(output);
  });
  return encodeModelProto(graphToProto(graph, { irVersion: 9 }));
}

async function opens(model: Uint8Array, on: OpenOnDevice): Promise<boolean> {
  try {
    await (await openWhole(model, on)).release();
    return true;
  } catch {
    return false;
  }
}

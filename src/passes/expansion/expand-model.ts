import type { Copy } from "../../analysis/copies.ts";
import { inferShapes } from "../../analysis/infer.ts";
import type { ShareCheck } from "../../analysis/share-options.ts";
import type { ShareOptions } from "../../analysis/shared-initializers.ts";
import type { Graph } from "../../graph/graph.ts";
import type { ExternalReader } from "../../onnx/tensor.ts";
import { liftConstants } from "../cleanup/lift-constants.ts";
import { type Shared, splitShared } from "../cleanup/split-shared.ts";
import { tieCopies } from "../cleanup/tie-copies.ts";
import { type PassContext, runGraphPass, runPass } from "../pass.ts";
import { expandBodies } from "./expand-bodies.ts";
import type { ExpandOptions } from "./expand-options.ts";
import { inlineFunctions } from "./inline-functions.ts";
import { liftBodyConstants } from "./lift-body-constants.ts";
import { raiseWithBranches } from "./raise-with-branches.ts";

/** The result of {@link liftParameters}: weights that the file reads or holds in more than one place. */
interface LiftedParameters {
  /** Initializers that were copies of a parameter: they are computed from it now. */
  readonly copies: readonly Copy[];
  /** Initializers that several operators read, and the copies that they got. */
  readonly shared: readonly Shared[];
}

/**
 * Brings every constant that could be trained to the graph's surface, as an initializer: out of functions, bodies and
 * Constant nodes; shared ones are split, copies tied. Training and export do the same, so that names are the same in both.
 * @param check - for options that have not been checked
 */
export function liftParameters(
  graph: Graph,
  options: ShareOptions,
  external?: ExternalReader,
  check?: ShareCheck,
): LiftedParameters {
  runGraphPass(inlineFunctions({ external }), graph);
  runGraphPass(liftBodyConstants({ external }), graph);
  runGraphPass(liftConstants(), graph);
  const refuse = check?.(graph, options);
  const copies = runGraphPass(tieCopies(options), graph);
  refuse?.();
  const shared = runGraphPass(splitShared(options), graph);
  return { copies, shared };
}

/**
 * Writes bodies out and raises the opset: afterwards the only bodies that a gradient can pass are the branches of an If.
 * @param graph - from {@link liftParameters}
 * @throws SorthError when the graph grows too large, or a node cannot be raised
 */
export async function expandModel(
  graph: Graph,
  options: ExpandOptions & { readonly target: number },
  context: PassContext,
): Promise<void> {
  await runPass(expandBodies(options), graph, context);
  // Raising the old form of Softmax needs the rank of its input.
  if (graph.opset < 13) await inferShapes(graph, context.probe, options.dimensions);
  await runPass(raiseWithBranches(options), graph, context);
}

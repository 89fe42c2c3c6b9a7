import { Emit } from "../../graph/emit.ts";
import type { Graph } from "../../graph/graph.ts";
import type { PassContext } from "../pass.ts";

/** The context of a pass that runs on a body as if it were a graph. */
export const bodyContext = (body: Graph, outer: PassContext): PassContext => ({
  ...outer,
  emit: new Emit(body, outer.emit.options),
});

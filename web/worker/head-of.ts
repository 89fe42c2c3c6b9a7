import { graphOf } from "../../src/graph/model-graph.ts";
import { findHeads, type Head } from "../../src/head/find-head.ts";
import { SorthError } from "../../src/web.ts";
import type { HeadSummary } from "../protocol.ts";
import type { OpenedModel } from "./open-model.ts";

/** The layer whose units are a model's classes. @throws SorthError if there is none */
export function headOf({ original, inspection }: Pick<OpenedModel, "original" | "inspection">): Head {
  const scores = inspection.outputs.find(({ type }) => /^(float|double|float16)$/.test(type));
  if (!scores) throw new SorthError("none of the model's outputs holds floats");
  return findHeads(graphOf(original).valueNamed(scores.name))[0] as Head;
}

/** What the page shows about that layer; a text that says why the model cannot get new classes. */
export function headSummary(opened: OpenedModel): HeadSummary | string {
  if (opened.rescued) return "the files of a training run keep their classes";
  if (opened.block) return "the model holds a penalty that was injected for its classes; strip it first";
  try {
    const { node, units, fanIn } = headOf(opened);
    return { layer: node.label, units, fanIn };
  } catch (error) {
    if (error instanceof SorthError) return error.message;
    throw error;
  }
}
